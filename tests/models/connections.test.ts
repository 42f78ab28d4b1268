import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { type Dispatcher, freshTarget, runtimes, startDispatcher } from "../support/models-dispatch.ts";
import { type Provider, type Script, startProvider } from "../support/provider.ts";

const MANY = 25;

describe.each(runtimes)("the connections to a provider on %s", (runtime) => {
  let provider: Provider;
  let dispatcher: Dispatcher;
  beforeAll(async () => {
    provider = await startProvider();
    dispatcher = startDispatcher(runtime, provider, { lastFirstToken: 2_000, idle: 300 });
  });
  afterEach(() => provider.behave(() => ({})));
  afterAll(async () => {
    await dispatcher.stop();
    await provider.close();
  });

  it.each(["openai/a-model", "groq/a-model"])("are used again after whole answers of %s", async (target) => {
    const before = provider.sockets();
    for (let n = 0; n < MANY; n++) expect((await dispatcher.send(target).last).type).toBe("end");
    expect(provider.sockets() - before).toBeLessThanOrEqual(3);
  });

  it("are used again where responses end a little later than the answers in them", async () => {
    provider.behave(() => ({ afterwards: "late" }));
    const before = provider.sockets();
    for (let n = 0; n < MANY; n++) {
      expect((await dispatcher.send("openai/a-model").last).type).toBe("end");
      await expect.poll(provider.busy, { interval: 5 }).toBe(0);
    }
    expect(provider.sockets() - before).toBeLessThanOrEqual(3);
  });

  it("are used again after refusals", async () => {
    provider.behave(() => ({ status: 429, error: { error: { message: "slow down", code: "rate_limit_exceeded" } } }));
    const before = provider.sockets();
    for (let n = 0; n < MANY; n++) expect((await dispatcher.send(freshTarget()).last).type).toBe("failed");
    expect(provider.sockets() - before).toBeLessThanOrEqual(3);
  });

  it.each<{ what: string; script: Script }>([
    { what: "a stream that ends without proof", script: { finish: null, done: false } },
    { what: "garbage", script: { raw: "data: {oops\n\n", afterwards: "open" } },
    { what: "an error in the stream", script: { raw: 'data: {"error":{"message":"no"}}\n\n', afterwards: "open" } },
    { what: "a silence in the middle", script: { text: ["Once"], afterwards: "stall" } },
    { what: "a cut", script: { text: ["Once"], afterwards: "cut" } },
    { what: "a refusal", script: { status: 500 } },
  ])("are not left open after $what", async ({ script }) => {
    provider.behave(() => script);
    const turns = Array.from({ length: 5 }, () => dispatcher.send(freshTarget()));
    for (const turn of turns) expect((await turn.last).type).toBe("failed");
    await expect.poll(provider.busy).toBe(0);
  });

  it("are given up where a provider ends its answer but never its response", async () => {
    provider.behave(() => ({ afterwards: "open" }));
    const turn = dispatcher.send("openai/a-model", "All of it");
    expect((await turn.last).type).toBe("end");
    expect(turn.text()).toBe("Echo: All of it");
    await expect.poll(provider.busy).toBe(0);
  });

  it("serve the next turn after any of that", async () => {
    const turn = dispatcher.send("openai/a-model", "Still there?");
    expect((await turn.last).type).toBe("end");
    expect(turn.text()).toBe("Echo: Still there?");
  });
});
