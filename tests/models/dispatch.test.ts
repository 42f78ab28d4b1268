import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Dispatcher, onlyAttempt, runtimes, startDispatcher } from "../support/models-dispatch.ts";
import { event, type Provider, startProvider } from "../support/provider.ts";

const targets = ["openai/a-model", "groq/openai/a-model"];

describe.each(runtimes)("a whole answer on %s", (runtime) => {
  let provider: Provider;
  let dispatcher: Dispatcher;
  beforeAll(async () => {
    provider = await startProvider();
    dispatcher = startDispatcher(runtime, provider);
  });
  afterEach(() => provider.behave(() => ({})));
  afterAll(async () => {
    const code = await dispatcher.stop();
    await provider.close();
    expect(code, "it ends by itself: no timer and no connection is left").toBe(0);
  });

  it.each(targets)("of %s comes as it is made, and is all of its deltas", async (target) => {
    const turn = dispatcher.send(target, "Good morning to you");
    const last = await turn.last;
    expect(turn.text()).toBe("Echo: Good morning to you");
    expect(turn.heard.map((e) => e.type).slice(0, -1)).not.toContain("end");
    expect(last).toMatchObject({ type: "end", target, finishReason: "stop" });
    expect(turn.heard.at(-1)).toBe(last);
  });

  it.each(targets)("of %s tells what was spent, as the provider counted it, and the one attempt", async (target) => {
    const last = await dispatcher.send(target).last;
    const usage = { input_tokens: 11, output_tokens: 7, estimated: false };
    expect(last.usage).toEqual(usage);
    const any = expect.any(Number);
    expect(last.attempts).toEqual([{ target, outcome: "completed", status: 200, ms: any, first_token_ms: any, usage }]);
    expect(last.context).toEqual({ messages: 1, omitted: 0, estimated_tokens: 9 });
  });

  it("is heard while it is still being made", async () => {
    provider.behave(() => ({ text: ["Once upon a time"], afterwards: "stall" }));
    const turn = dispatcher.send("openai/a-model");
    await expect.poll(turn.text).toBe("Once upon a time");
    expect(turn.heard.every((e) => e.type === "delta")).toBe(true);
    turn.cancel();
    await turn.last;
  });

  it("has its cost estimated, and says so, where the provider does not count", async () => {
    provider.behave(() => ({ usage: null, text: ["One, two, three, four"] }));
    const last = await dispatcher.send("openai/a-model").last;
    const usage = { input_tokens: 9, output_tokens: 6, estimated: true };
    expect(last.usage).toEqual(usage);
    expect(onlyAttempt(last).usage).toEqual(usage);
  });

  it("at the length limit is whole, and says why it ended", async () => {
    provider.behave(() => ({ finish: "length" }));
    expect(await dispatcher.send("openai/a-model").last).toMatchObject({ type: "end", finishReason: "length" });
  });

  it("has no half character in any delta, no U+0000, and nothing that could not be stored", async () => {
    provider.behave(() => ({ text: ["a\ud83d", "\ude00b", "\0c", "\ude00d", "e\ud83d"], every: 30 }));
    const turn = dispatcher.send("openai/a-model");
    await turn.last;
    expect(turn.text()).toBe("a😀bc\uFFFDde\uFFFD");
    for (const heard of turn.heard) if (heard.type === "delta") expect(heard.text.isWellFormed()).toBe(true);
  });

  it("is that turn's own, however many run at once", async () => {
    provider.behave(() => ({ every: 10 }));
    const turns = Array.from({ length: 20 }, (_, n) => ({ n, turn: dispatcher.send("groq/a-model", `this is ${n}`) }));
    await Promise.all(turns.map(({ turn }) => turn.last));
    for (const { n, turn } of turns) expect(turn.text()).toBe(`Echo: this is ${n}`);
  });

  it("may be long, and of pieces of any size", async () => {
    const content = "größer 😀 ".repeat(20_000);
    provider.behave(() => ({ text: [content], together: true }));
    const turn = dispatcher.send("openai/a-model");
    await turn.last;
    expect(turn.text() === content).toBe(true);
  });

  it("is read as it stands where it only claims to be compressed", async () => {
    provider.behave(() => ({ headers: { "content-encoding": "gzip" } }));
    const turn = dispatcher.send("openai/a-model", "Plain text");
    expect((await turn.last).type).toBe("end");
    expect(turn.text()).toBe("Echo: Plain text");
    expect(provider.asked.at(-1)?.headers["accept-encoding"] ?? "identity").toBe("identity");
  });

  it("is not whole without a finish reason, and the text that came is told all the same", async () => {
    provider.behave(() => ({ text: ["Half an"], finish: null, done: false }));
    const turn = dispatcher.send("openai/a-model");
    const last = await turn.last;
    expect(last).toMatchObject({ type: "failed", error: { code: "provider_failed" } });
    expect([turn.text(), onlyAttempt(last).outcome]).toEqual(["Half an", "stream_incomplete"]);
  });

  it("is not whole if the provider refuses it at its end", async () => {
    provider.behave(() => ({
      text: ["Half an"],
      raw: event({ choices: [{ delta: {}, finish_reason: "content_filter" }] }),
    }));
    const last = await dispatcher.send("openai/a-model").last;
    expect(last).toMatchObject({ type: "failed", error: { code: "content_refused" } });
    expect(onlyAttempt(last).outcome).toBe("content_filter");
  });
});
