import { describe, expect, it } from "vitest";
import { completion, KEY, sse, TRACEBACK, tokens } from "../support/runpod-outputs.ts";
import { REQUEST, statusesOf, textOf, useRunpod } from "../support/runpod-setup.ts";

const { fake, at, ask } = useRunpod();

const STOP = { type: "end", finishReason: "stop" };
const WORDS = ["Grö", "ße 😀", " und mehr"];
const TEXT = WORDS.join("");
const done = (...puts: unknown[]) => ({ status: "COMPLETED", puts });
const running = (...puts: unknown[]) => ({ status: "IN_PROGRESS", puts });
const queued = { status: "IN_QUEUE" };

describe("a job", () => {
  it("is given the messages, is to stream, and may answer at length", async () => {
    await ask({ life: [done("Hi")] }).all;
    const { input } = fake().jobs.at(-1) ?? {};
    expect(input).toEqual({
      messages: [{ role: "user", content: "How are you?" }],
      sampling_params: { max_tokens: 2048 },
      stream: true,
    });
  });

  it("is given one prompt where the worker takes nothing else, which ends where the assistant goes on", async () => {
    const messages = [
      { role: "system", content: "Be brief." },
      { role: "user", content: "Hi" },
      { role: "assistant", content: "Hello." },
      { role: "user", content: "How are you?" },
    ] as const;
    const { provider } = at({ input: "prompt" });
    await Array.fromAsync(provider({ model: "m", messages }, new AbortController().signal));
    expect(fake().jobs.at(-1)?.input).toEqual({
      prompt: "System: Be brief.\n\nUser: Hi\n\nAssistant: Hello.\n\nUser: How are you?\n\nAssistant:",
      sampling_params: { max_tokens: 2048, stop: ["\nUser:"] },
      stream: true,
    });
  });

  it.each(["messages", "prompt"] as const)(
    "is given the temperature and the limit that were asked for: %s",
    async (input) => {
      const request = { ...REQUEST, temperature: 0, maxTokens: 50 };
      await ask({ life: [done("Hi")] }, { input, request }).all;
      expect(fake().jobs.at(-1)?.input["sampling_params"]).toMatchObject({ max_tokens: 50, temperature: 0 });
    },
  );

  it.each<{ what: string; puts: unknown[] }>([
    { what: "lists of tokens", puts: WORDS.map((word) => tokens([word])) },
    { what: "pieces of an event stream", puts: sse(WORDS).match(/.{1,150}/gs) ?? [] },
    { what: "strings", puts: WORDS },
    { what: "one completion", puts: [[completion(TEXT)]] },
    { what: "{text}", puts: WORDS.map((text) => ({ text })) },
  ])("that puts out $what is told once: streamed, at its end, or without a status", async ({ puts }) => {
    const ways = [
      { life: [queued, ...puts.map((put) => running(put)), done()] },
      { life: [queued, running(), done(...puts)] },
      { life: [running()], result: puts, bare: true },
      { life: [running(), done()], result: puts },
      { life: [running(...puts.slice(0, 1)), running(...puts.slice(1)), done()], bare: true },
    ];
    ways[2]?.life.push(done());
    for (const script of ways) {
      const events = await ask(script).all;
      expect([textOf(events), events.at(-1)]).toEqual([TEXT, STOP]);
    }
  });

  it("is heard while it is still putting out", async () => {
    const controller = new AbortController();
    const turn = ask({ life: [running(tokens(["Once"])), running()] }, { signal: controller.signal });
    await expect.poll(() => textOf(turn.events)).toBe("Once");
    controller.abort();
    await expect(turn.all).rejects.toThrow();
  });

  it("tells what was spent as the worker counted it", async () => {
    for (const put of [tokens(WORDS), [completion(TEXT)], sse(WORDS)]) {
      const events = await ask({ life: [done(put)] }).all;
      const usage = { input_tokens: 11, output_tokens: 7, estimated: false };
      expect(events.filter((event) => event.type === "usage")).toEqual([{ type: "usage", usage }]);
    }
  });

  it("that has more to fetch when it is over is fetched to its end", async () => {
    const life = [running("a"), done("b"), done("c"), done("d"), done()];
    expect(textOf(await ask({ life }).all)).toBe("abcd");
  });

  it("goes on in a status that nobody knows", async () => {
    const events = await ask({ life: [{ status: "PAUSED" }, { status: "RUNNING", puts: ["a"] }, done("b")] }).all;
    expect([textOf(events), events.at(-1)]).toEqual(["ab", STOP]);
  });

  it("whose worker answers at great length is read whole", async () => {
    const words = Array.from({ length: 9_000 }, (_, n) => `word${n} `);
    const text = sse(words);
    expect(text.length).toBeGreaterThan(1_048_576);
    expect(textOf(await ask({ life: [done(text)] }).all)).toBe(words.join(""));
    expect(textOf(await ask({ life: [done()], result: [text] }).all)).toBe(words.join(""));
  });
});

describe("a queued job", () => {
  it("says so with each poll, and no more once it runs", async () => {
    const events = await ask({ life: [queued, queued, queued, running(), running(), done("Hi")] }).all;
    expect(statusesOf(events)).toEqual(["queued", "queued", "queued"]);
    expect(events.findLastIndex((event) => event.type === "status")).toBeLessThan(
      events.findIndex((event) => event.type === "delta"),
    );
  });

  it.each([
    { what: "no worker but one that starts", workers: { initializing: 1 }, status: "starting" },
    { what: "an idle worker and one that starts", workers: { initializing: 1, idle: 1 }, status: "queued" },
    { what: "a busy worker and one that starts", workers: { initializing: 1, running: 1 }, status: "queued" },
    { what: "no worker at all", workers: {}, status: "queued" },
    { what: "a throttled worker", workers: { throttled: 1 }, status: "queued" },
  ])("at an endpoint with $what is $status", async ({ workers, status }) => {
    const events = await ask({ life: [queued, running(), done("Hi")], workers }).all;
    expect(statusesOf(events)).toEqual([status]);
    expect(events.at(-1)).toEqual(STOP);
  });

  it("asks for the workers now and then, not with every poll", async () => {
    const before = fake().healthAsks();
    const events = await ask({ life: [...Array(6).fill(queued), done("Hi")] }).all;
    expect(statusesOf(events)).toHaveLength(6);
    expect(fake().healthAsks() - before).toBe(1);
  });

  it.each(["cut", "silence", { status: 500 }, { text: "<html>" }] as const)(
    "is no worse off where its endpoint cannot be asked for the workers: %j",
    async (health) => {
      const events = await ask({ life: [queued, done("Hi")], health }).all;
      expect([statusesOf(events), textOf(events), events.at(-1)]).toEqual([["queued"], "Hi", STOP]);
    },
  );
});

describe("the endpoint", () => {
  it("tells of its workers and jobs", async () => {
    await ask({ life: [done("Hi")], workers: { idle: 2, throttled: 1 } }).all;
    expect(await at().health(new AbortController().signal)).toEqual({
      jobs: { completed: 5, failed: 1, inProgress: 0, inQueue: 1, retried: 0 },
      workers: { idle: 2, initializing: 0, ready: 0, running: 0, throttled: 1, unhealthy: 0 },
    });
  });

  it("that refuses the key tells no workers", async () => {
    const health = at({ apiKey: "another" }).health(new AbortController().signal);
    await expect(health).rejects.toMatchObject({ status: 401 });
  });
});

it("no event shows a worker's words of what went wrong, nor the key", async () => {
  for (const life of [
    [running("a"), { status: "FAILED" }],
    [{ status: "FAILED" }],
    [running({ error: TRACEBACK })],
    [done([{ error: TRACEBACK }])],
  ]) {
    const told = JSON.stringify(await ask({ life }).all);
    expect(told).toContain("stream_incomplete");
    expect(told).not.toMatch(/Traceback|CUDA/);
    expect(told).not.toContain(KEY);
  }
});
