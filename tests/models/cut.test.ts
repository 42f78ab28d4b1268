import { afterAll, beforeAll, expect, it } from "vitest";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { type Provider, startProvider } from "../support/provider.ts";

let provider: Provider;
let transport: Transport;
beforeAll(async () => {
  provider = await startProvider();
  transport = createTransport();
});
afterAll(async () => {
  await transport.close();
  await provider.close();
});

const ask = () =>
  transport.send({
    url: `${provider.openaiUrl}/chat/completions`,
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify({ model: "m", messages: [], stream: true }),
    signal: new AbortController().signal,
  });

it("what came before a connection broke is read, however late, and then that it broke", async () => {
  const words = Array.from({ length: 20 }, (_, n) => `word-${n}.`);
  provider.behave(() => ({ text: words, every: 5, afterwards: "cut" }));
  const answer = await ask();
  const chunks = answer.chunks[Symbol.asyncIterator]();
  let text = Buffer.from((await chunks.next()).value ?? "").toString();
  await expect.poll(provider.busy).toBe(0);
  provider.behave(() => ({}));
  (await ask()).release(); // the way there and back: the cut has arrived by now
  const rest = async () => {
    for (let read = await chunks.next(); !read.done; read = await chunks.next()) text += Buffer.from(read.value);
  };
  await expect(rest()).rejects.toThrow();
  expect(words.filter((word) => !text.includes(word))).toEqual([]);
  answer.release();
});

it("a body that nobody reads is held back, and read whole later", async () => {
  const words = Array.from({ length: 300 }, (_, n) => `${n}:${"x".repeat(60_000)}.`);
  provider.behave(() => ({ text: words }));
  const answer = await ask();
  const chunks = answer.chunks[Symbol.asyncIterator]();
  await chunks.next();
  const other = await ask();
  expect(await other.text()).toContain("0:x");
  let size = 0;
  for (let read = await chunks.next(); !read.done; read = await chunks.next()) size += read.value.length;
  expect(size).toBeGreaterThan(299 * 60_000);
  for (const one of [answer, other]) one.release();
});
