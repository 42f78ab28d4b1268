import { describe, expect, it } from "vitest";
import { decodeSse } from "../../src/models/sse.ts";

const encoder = new TextEncoder();

async function* arriving(chunks: readonly Uint8Array[]) {
  yield* chunks;
}

/** What is yielded for each of the chunks that complete something. */
async function decode(...chunks: (string | Uint8Array)[]): Promise<(readonly string[])[]> {
  const bytes = chunks.map((chunk) => (typeof chunk === "string" ? encoder.encode(chunk) : chunk));
  return Array.fromAsync(decodeSse(arriving(bytes)));
}

const lineEnds = [
  { name: "LF", end: "\n" },
  { name: "CRLF", end: "\r\n" },
  { name: "CR", end: "\r" },
];

const lines = [
  "data: one",
  "",
  ": a comment",
  "event: named",
  "id: 3",
  "data: two",
  "data: three",
  "",
  "data: größer 😀",
  "",
];
const events = ["one", "two\nthree", "größer 😀"];

describe.each(lineEnds)("a stream whose lines end in $name", ({ end }) => {
  const whole = lines.map((line) => line + end).join("");

  it("gives its events", async () => {
    expect((await decode(whole)).flat()).toEqual(events);
  });

  it("gives the same events wherever it is cut in two", async () => {
    const bytes = encoder.encode(`${whole}: the end${end}`);
    for (let at = 0; at <= bytes.length; at++) {
      const decoded = await decode(bytes.subarray(0, at), bytes.subarray(at));
      expect(decoded.flat(), `cut at byte ${at}`).toEqual(events);
    }
  });

  it("gives the same events byte by byte", async () => {
    const bytes = encoder.encode(`${whole}: the end${end}`);
    const decoded = await decode(...Array.from(bytes, (byte) => Uint8Array.of(byte)));
    expect(decoded.flat()).toEqual(events);
  });
});

it("takes every line end there is in one stream", async () => {
  const mixed = "data: one\r\n\ndata: two\r\rdata: three\n\r\ndata: four\r\r\n: the end\n";
  const bytes = encoder.encode(mixed);
  for (let at = 0; at <= bytes.length; at++) {
    const decoded = await decode(bytes.subarray(0, at), bytes.subarray(at));
    expect(decoded.flat(), `cut at byte ${at}`).toEqual(["one", "two", "three", "four"]);
  }
});

it("yields together what one chunk completes, nothing for a chunk that completes nothing, and an empty list for a comment", async () => {
  const decoded = await decode("data: a\n\ndata: b\n\nda", "ta: ", "c\n\n", ": queued\n\n");
  expect(decoded).toEqual([["a", "b"], ["c"], []]);
});

it("yields an event as soon as its empty line is there", async () => {
  const { promise: never } = Promise.withResolvers<never>();
  async function* unending() {
    yield encoder.encode("data: a\r\n\r\n");
    await never;
  }
  expect((await decodeSse(unending()).next()).value).toEqual(["a"]);
});

it("drops one byte order mark at the beginning, also a cut one", async () => {
  const bytes = encoder.encode("\uFEFFdata: a\n\n");
  for (let at = 0; at <= 4; at++) {
    expect((await decode(bytes.subarray(0, at), bytes.subarray(at))).flat(), `cut at ${at}`).toEqual(["a"]);
  }
  expect((await decode("\uFEFF\uFEFFdata: a\n\ndata: b\n\n")).flat()).toEqual(["b"]);
});

it.each([
  { stream: "data:a\n\n", gives: ["a"], what: "no space after the colon" },
  { stream: "data:  a \n\n", gives: [" a "], what: "no more than one space is dropped" },
  { stream: "data\n\ndata\ndata\n\ndata:", gives: ["", "\n", ""], what: "data without a colon is an empty line" },
  { stream: "data: a: b\n\n", gives: ["a: b"], what: "a colon in the value stays" },
  { stream: "datum: a\n data: b\nDATA: c\n\n", gives: [], what: "other fields are passed over" },
  { stream: "event: x\nid: 1\nretry: 5\n\n", gives: [], what: "an event without data is none" },
  { stream: ":\n: comment\n\n\n\ndata: a\n\n\n", gives: ["a"], what: "comments and empty lines are passed over" },
  { stream: "data: a\n:in between\ndata: b\n\n", gives: ["a\nb"], what: "a comment does not end an event" },
])("$what", async ({ stream, gives }) => {
  expect((await decode(stream)).flat()).toEqual(gives);
});

it.each(["data: a\n\ndata: b", "data: a\n\ndata: b\n", "data: a\n\ndata: b\r\n"])(
  "delivers the last event without its blank line: %j",
  async (stream) => {
    expect((await decode(stream)).flat()).toEqual(["a", "b"]);
  },
);

it("delivers a body that is one JSON value as one event, wherever it is cut", async () => {
  const body = '{"choices": [\n\n"data: none" ]}';
  for (let at = 0; at <= body.length; at++) {
    expect(await decode(body.slice(0, at), body.slice(at)), `cut at ${at}`).toEqual([[body]]);
  }
});

it.each([
  { what: "a line that never ends", start: "data: " },
  { what: "a JSON value that never ends", start: "[" },
])("gives up $what", async ({ start }) => {
  async function* unending() {
    yield encoder.encode(start);
    for (;;) yield encoder.encode("x".repeat(65_536));
  }
  await expect(Array.fromAsync(decodeSse(unending()))).rejects.toMatchObject({ code: "answer_too_large" });
});

it("puts a replacement character for bytes that are no UTF-8, and goes on", async () => {
  const broken = Uint8Array.of(...encoder.encode("data: a"), 0xff, ...encoder.encode("b\n\ndata: c\n\n"));
  expect((await decode(broken)).flat()).toEqual(["a\uFFFDb", "c"]);
});
