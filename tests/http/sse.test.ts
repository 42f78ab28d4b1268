import { Hono } from "hono";
import { describe, expect, it, onTestFinished, vi } from "vitest";
import type { HttpEnv } from "../../src/http/env.ts";
import { eventStream } from "../../src/http/sse.ts";

const log = { error: (fields: object) => expect.unreachable(JSON.stringify(fields)) };

/** A stream that says `word` again and again, to whoever takes it; `open` tells whether its source still is. */
async function given({ until }: { until?: AbortSignal } = {}) {
  const source = { open: false };
  async function* words(signal: AbortSignal) {
    source.open = true;
    try {
      while (!signal.aborted) yield "word";
    } finally {
      source.open = false;
    }
  }
  const app = new Hono<HttpEnv>().get("/", (c) => eventStream(c, words, { log, ...(until && { until }) }));
  const { body } = await app.request("/");
  if (!body) throw new Error("there is no body");
  return { reader: body.getReader(), source };
}

describe("an event stream", () => {
  it("says that it lives within each ten seconds in which it has nothing else to say", async () => {
    vi.useFakeTimers({ toFake: ["setInterval", "clearInterval"] });
    onTestFinished(() => void vi.useRealTimers());
    const silence = Promise.withResolvers<void>();
    async function* nothing() {
      await silence.promise;
      yield "word";
    }
    const app = new Hono<HttpEnv>().get("/", (c) => eventStream(c, nothing, { log }));
    const reader = (await app.request("/")).body?.getReader();
    for (let times = 0; times < 3; times++) {
      const read = reader?.read();
      vi.advanceTimersByTime(10_000);
      expect(new TextDecoder().decode((await read)?.value)).toMatch(/^(:\n\n)+$/);
    }
    silence.resolve();
    await reader?.cancel();
  });

  it("lets go of its source when its reader leaves, also where it waits for the reader to take something", async () => {
    const { reader, source } = await given();
    await reader.read();
    expect(source.open).toBe(true);
    await reader.cancel();
    await expect.poll(() => source.open).toBe(false);
  });

  it("ends when it is to, in the middle of things or before it began, and lets go of its source", async () => {
    const leaving = new AbortController();
    const { reader, source } = await given({ until: leaving.signal });
    await reader.read();
    leaving.abort();
    await reader.read(); // what was ready for it
    expect(await reader.read()).toEqual({ done: true, value: undefined });
    await expect.poll(() => source.open).toBe(false);
    const late = await given({ until: leaving.signal });
    expect(await late.reader.read()).toEqual({ done: true, value: undefined });
    expect(late.source.open).toBe(false);
  });
});
