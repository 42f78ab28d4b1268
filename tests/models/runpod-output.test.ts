import { describe, expect, it } from "vitest";
import type { ProviderEvent } from "../../src/models/provider.ts";
import { outputReader } from "../../src/models/runpod-output.ts";
import { chunk, completion, sse, TRACEBACK, tokens } from "../support/runpod-outputs.ts";

/** What a completed job with this output, in these parts, has told. */
function readAll(parts: readonly unknown[]) {
  const reader = outputReader();
  const told = parts.map((part) => reader.read(part)).join("") + reader.rest();
  expect(reader.text()).toBe(told);
  return { text: told, usage: reader.usage(), ending: reader.ending() };
}

const STOP: ProviderEvent = { type: "end", finishReason: "stop" };
const INCOMPLETE: ProviderEvent = { type: "failed", kind: "stream_incomplete" };
const COUNTED = { input_tokens: 11, output_tokens: 7, estimated: false };
const TEXT = "Größe: 😀 💀 naïve\n\n東京";
const WORDS = ["Grö", "ße: 😀 💀", " naïve\n\n", "東京"];

describe("an output", () => {
  it.each<{ what: string; output: unknown; usage?: typeof COUNTED }>([
    { what: "a string", output: TEXT },
    { what: "a list of strings", output: WORDS },
    { what: "{text}", output: { text: TEXT } },
    { what: "{output}", output: { output: TEXT } },
    { what: "{response}", output: { response: TEXT } },
    { what: "{text} beside an empty error", output: { error: null, text: TEXT } },
    { what: "a wrapping of a list of wrappings", output: { output: WORDS.map((text) => ({ text })) } },
    { what: "lists of tokens", output: [tokens(WORDS.slice(0, 2)), tokens(WORDS.slice(2))], usage: COUNTED },
    { what: "one completion", output: completion(TEXT), usage: COUNTED },
    { what: "a list of one completion", output: [completion(TEXT)], usage: COUNTED },
    { what: "a completion of text", output: { choices: [{ text: TEXT, finish_reason: "stop" }] } },
    { what: "chunks as objects", output: [...WORDS.map((word) => chunk(word)), chunk("", "stop")] },
    { what: "an event stream", output: sse(WORDS), usage: COUNTED },
    { what: "an event stream in a list", output: [sse(WORDS)], usage: COUNTED },
    {
      what: "an event stream after blank lines and a byte order mark",
      output: `\uFEFF\n\n${sse(WORDS)}`,
      usage: COUNTED,
    },
    { what: "an event stream with CRLF", output: sse(WORDS).replaceAll("\n", "\r\n"), usage: COUNTED },
    { what: "an event stream without its last line end", output: sse(WORDS).trimEnd(), usage: COUNTED },
  ])("that is $what is read as its text, its usage and its end", ({ output, usage }) => {
    expect(readAll([output])).toEqual({ text: TEXT, usage, ending: STOP });
  });

  it("of several answers at once is the first of them", () => {
    const both = { choices: [...completion("one").choices, ...completion("two").choices] };
    expect(readAll([both]).text).toBe("one");
  });

  it("counts what was spent once: the last count stands", () => {
    const counts = [tokens(["a"], { input: 11, output: 1 }), tokens(["b"], { input: 11, output: 2 })];
    expect(readAll(counts).usage).toEqual({ input_tokens: 11, output_tokens: 2, estimated: false });
  });

  it.each(["stop", "length"])("that says it ends with %s is whole", (finish) => {
    const end = { type: "end", finishReason: finish };
    for (const output of [completion(TEXT, finish), sse(WORDS, finish)]) expect(readAll([output]).ending).toEqual(end);
  });

  it.each<{ what: string; output: unknown; text?: string }>([
    { what: "nothing", output: undefined, text: "" },
    { what: "an empty string", output: "", text: "" },
    { what: "no tokens", output: [tokens([])], text: "" },
    { what: "something nobody knows", output: { generated: TEXT }, text: "" },
    { what: "a number", output: 42, text: "" },
    { what: "a completion that was aborted", output: completion(TEXT, "abort") },
    { what: "tokens that were aborted", output: { choices: [{ tokens: WORDS, finish_reason: "abort" }] } },
    { what: "an event stream that was aborted", output: sse(WORDS, "abort") },
    { what: "an event stream that says nothing of its end", output: sse(WORDS, null).replace("data: [DONE]\n\n", "") },
    {
      what: "an event stream that breaks off",
      output: sse(WORDS).slice(0, sse(WORDS).indexOf("東京")),
      text: "Größe: 😀 💀 naïve\n\n",
    },
    { what: "tokens, then an error", output: [tokens(WORDS), { error: TRACEBACK }] },
    {
      what: "an event stream with an error in it",
      output: sse(WORDS).replace("data: [DONE]", 'data: {"error":"no"}'),
    },
  ])("that is $what is no whole answer", ({ output, text = TEXT }) => {
    expect(readAll([output])).toMatchObject({ text, ending: INCOMPLETE });
  });

  it("that is text, then a server's error, is judged by the code of the error", () => {
    const output = [TEXT, { object: "error", message: TRACEBACK, code: 400 }];
    expect(readAll([output])).toMatchObject({ text: TEXT, ending: { type: "failed", kind: "bad_request" } });
  });

  it("whose content was filtered says so", () => {
    const filtered = { type: "failed", kind: "content_filter" };
    expect(readAll([completion("", "content_filter")]).ending).toEqual(filtered);
  });

  it("after [DONE] is not read", () => {
    expect(readAll([sse(WORDS), sse(["more"])])).toMatchObject({ text: TEXT, ending: STOP });
  });

  it.each(["d", "data", "data: ", "data: 4 of 5", "database", " \n data"])(
    "that only begins like an event stream is text: %j",
    (text) => {
      expect(readAll(Array.from(text))).toMatchObject({ text, ending: STOP });
    },
  );
});

describe("an event stream", () => {
  const whole = sse(WORDS);

  it("cut in two at any place gives the same text", () => {
    for (let at = 0; at <= whole.length; at++) {
      const read = readAll([whole.slice(0, at), whole.slice(at)]);
      expect(read, `cut at ${at}`).toEqual({ text: TEXT, usage: COUNTED, ending: STOP });
    }
  });

  it("in pieces of any size gives the same text", () => {
    for (let size = 1; size <= 40; size++) {
      const pieces = Array.from({ length: Math.ceil(whole.length / size) }, (_, n) =>
        whole.slice(n * size, (n + 1) * size),
      );
      expect(readAll(pieces), `pieces of ${size}`).toEqual({ text: TEXT, usage: COUNTED, ending: STOP });
    }
  });

  it("cut inside a character, whose bytes come one by one, gives the same text", () => {
    const bytes = Buffer.from(whole);
    for (let at = 0; at <= bytes.length; at++) {
      const read = readAll([asPython(bytes.subarray(0, at)), asPython(bytes.subarray(at))]);
      expect(read, `cut at byte ${at}`).toEqual({ text: TEXT, usage: COUNTED, ending: STOP });
    }
  });

  it("that is broken off at any place is no whole answer before its finish reason, and never has text that is not its own", () => {
    const proof = whole.indexOf('"stop"}]}') + '"stop"}]}'.length;
    for (let at = 8; at < whole.length; at++) {
      const read = readAll([whole.slice(0, at)]);
      expect(TEXT.startsWith(read.text), `broken off at ${at}`).toBe(true);
      if (at < proof) expect(read.ending, `broken off at ${at}`).toEqual(INCOMPLETE);
    }
  });
});

it("text in pieces cut inside a character is joined again, wherever it is cut", () => {
  const bytes = Buffer.from(TEXT);
  for (let at = 0; at <= bytes.length; at++) {
    const pieces = [asPython(bytes.subarray(0, at)), asPython(bytes.subarray(at))];
    expect(readAll(pieces).text, `cut at byte ${at}`).toBe(TEXT);
  }
  for (let at = 0; at <= TEXT.length; at++) {
    expect(readAll([TEXT.slice(0, at), TEXT.slice(at)]).text, `cut at unit ${at}`).toBe(TEXT);
  }
});

const UTF8 =
  /[\x20-\x7f\n]|[\xc0-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf7][\x80-\xbf]{3}|(?<lone>[\x80-\xff])/g;

it("text in pieces of which some are empty is joined all the same", () => {
  expect(readAll(["a\udcf0\udc9f", "", "\udc98\udc80", "", "b\ud83d", "", "\ude00"]).text).toBe("a😀b😀");
});

/** Bytes as Python decodes them with `surrogateescape`: what is no UTF-8 stays, as U+DC80 to U+DCFF. */
function asPython(bytes: Uint8Array): string {
  return Buffer.from(bytes)
    .toString("latin1")
    .replace(UTF8, (found, lone?: string) =>
      lone ? String.fromCharCode(0xdc00 + lone.charCodeAt(0)) : Buffer.from(found, "latin1").toString(),
    );
}
