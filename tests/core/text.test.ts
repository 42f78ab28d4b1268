import { describe, expect, it } from "vitest";
import { estimateTokens, previewOf, textCleaner, titleFrom } from "../../src/core/text.ts";
import { randomFrom, split, stringOf } from "../support/core-random.ts";

describe("a title", () => {
  it.each(["Hi", "What can you do?", "你好，世界", "🎉", "x".repeat(60)])(
    "is a short message as it stands: %s",
    (text) => {
      expect(titleFrom(text)).toBe(text);
    },
  );

  it("is one line without space around it", () => {
    expect(titleFrom("  Plan\n\n a\ttrip \r\n to\u2028Rome  ")).toBe("Plan a trip to Rome");
  });

  it("is cut between words and says so", () => {
    const text = "Could you please help me to plan a journey through northern Italy next spring";
    const title = titleFrom(text) ?? "";
    const kept = title.slice(0, -1);
    expect(title.length).toBeLessThanOrEqual(60);
    expect(title.at(-1)).toBe("…");
    expect(text.startsWith(`${kept} `)).toBe(true);
    expect(kept.length).toBeGreaterThan(30);
  });

  it.each([
    { what: "a family", grapheme: "👨‍👩‍👧‍👦" },
    { what: "a flag", grapheme: "🇩🇪" },
    { what: "a letter with its accents", grapheme: "e\u0301\u0323" },
    { what: "a syllable of Devanagari", grapheme: "क्षि" },
  ])("is never cut inside $what", ({ grapheme }) => {
    for (let before = 50; before <= 60; before++) {
      const title = titleFrom(`${"a".repeat(before)}${grapheme.repeat(20)}`) ?? "";
      const shown = title.slice(before, -1);
      expect(title.length).toBeLessThanOrEqual(60);
      expect(shown.replaceAll(grapheme, ""), `behind ${before} letters`).toBe("");
    }
  });

  it.each(["\u200b\u200d", "\u2060", "\u00ad\u00ad", "\u3164", "\u2800", "\ufe0f", "\u202e"])(
    "is none where nothing can be seen (%j)",
    (text) => {
      expect(titleFrom(text.repeat(3))).toBeNull();
    },
  );

  it("is cut inside a word that alone is too long", () => {
    expect(titleFrom("a".repeat(61))).toBe(`${"a".repeat(59)}…`);
  });

  it("is never longer than 60 UTF-16 units and never holds half a character", () => {
    const random = randomFrom(1);
    for (let i = 0; i < 2_000; i++) {
      const text = stringOf(random, ["a", "word", " ", "\n", "🎉", "👩‍👩‍👧", "中"], 80);
      const title = titleFrom(text) ?? "";
      expect(title.length, text).toBeLessThanOrEqual(60);
      expect(title.isWellFormed(), text).toBe(true);
      expect(title, text).not.toMatch(/[\r\n\t]/);
    }
  });
});

describe("a preview", () => {
  it("is a message of up to 200 UTF-16 units as it stands", () => {
    for (const text of ["", "Two\nlines", "x".repeat(200)]) expect(previewOf(text)).toBe(text);
  });

  it("is the beginning of a longer one, never with half a character", () => {
    expect(previewOf("x".repeat(201))).toBe(`${"x".repeat(199)}…`);
    for (let before = 190; before <= 200; before++) {
      const text = "x".repeat(before) + "🎉".repeat(20);
      const preview = previewOf(text);
      expect(preview.length).toBeLessThanOrEqual(200);
      expect(preview.length).toBeGreaterThanOrEqual(199);
      expect(preview.isWellFormed()).toBe(true);
      expect(text.startsWith(preview.slice(0, -1))).toBe(true);
    }
  });
});

describe("the estimate of tokens", () => {
  // Less than `least` would overrun a window, more than `most` would waste it.
  it.each([
    { text: "", least: 0, most: 0 },
    { text: "a", least: 1, most: 1 },
    { text: "The quick brown fox jumps over the lazy dog.", least: 10, most: 20 },
    { text: "我想去北京旅行，请给我一些建议。", least: 10, most: 32 },
    { text: "🎉🎉🎉🎉", least: 4, most: 12 },
  ])("is about right for “$text”", ({ text, least, most }) => {
    expect(estimateTokens(text)).toBeGreaterThanOrEqual(least);
    expect(estimateTokens(text)).toBeLessThanOrEqual(most);
  });

  it("is above one a character in Chinese, whole, and grows with the text", () => {
    expect(estimateTokens("中".repeat(100))).toBeGreaterThan(100);
    let last = 0;
    for (let length = 0; length < 50; length++) {
      const tokens = estimateTokens("ab ü中".repeat(length));
      expect(Number.isInteger(tokens)).toBe(true);
      expect(tokens).toBeGreaterThanOrEqual(last);
      last = tokens;
    }
  });
});

/** What comes out for pieces that came in one after the other. */
function cleaned(pieces: readonly string[]): string[] {
  const { push, end } = textCleaner();
  const out = pieces.map(push);
  return [...out, end()];
}

const whole = (text: string) => text.replaceAll("\0", "").toWellFormed();

describe("the cleaner of streamed text", () => {
  it("gives emoji whole, wherever a stream is cut in two or in three", () => {
    const text = "a🎉b👩‍👧🇫🇷";
    for (let first = 0; first <= text.length; first++) {
      for (let second = first; second <= text.length; second++) {
        const out = cleaned([text.slice(0, first), text.slice(first, second), text.slice(second)]);
        expect(out.join(""), `cut at ${first} and ${second}`).toBe(text);
        for (const piece of out) expect(piece.isWellFormed()).toBe(true);
      }
    }
  });

  it("gives at once whatever is no half of a character", () => {
    const { push } = textCleaner();
    expect([push("ab"), push("c\ud83c"), push("\udf89d")]).toEqual(["ab", "c", "🎉d"]);
  });

  it("drops U+0000", () => {
    expect(cleaned(["a\0b", "\0", "\0c"]).join("")).toBe("abc");
  });

  it.each([
    { what: "a low half at the start", pieces: ["\udf89a"], text: "\ufffda" },
    { what: "a high half before other text", pieces: ["a\ud83c", "b"], text: "a\ufffdb" },
    { what: "two high halves", pieces: ["\ud83c", "\ud83c", "\udf89"], text: "\ufffd🎉" },
    { what: "a high half at the end", pieces: ["a", "\ud83c"], text: "a\ufffd" },
    { what: "a high half that waits through empty pieces", pieces: ["\ud83c", "", "", "\udf89"], text: "🎉" },
  ])("makes U+FFFD of what has no other half: $what", ({ pieces, text }) => {
    expect(cleaned(pieces).join("")).toBe(text);
  });

  it("waits for nothing after its end", () => {
    const { push, end } = textCleaner();
    push("\ud83c");
    expect([end(), end(), push("\udf89")]).toEqual(["\ufffd", "", "\ufffd"]);
  });

  it("gives the same text however the stream was split", () => {
    const random = randomFrom(2);
    for (let i = 0; i < 5_000; i++) {
      const text = stringOf(random, ["a", "é", "中", "🎉", "\ud83c", "\udf89"], 12);
      expect(cleaned(split(random, text)).join(""), JSON.stringify(text)).toBe(whole(text));
    }
  });

  it("gives the same text however the stream was split, also around U+0000", () => {
    const random = randomFrom(3);
    for (let i = 0; i < 5_000; i++) {
      const text = stringOf(random, ["a", "🎉", "\ud83c", "\udf89", "\0"], 8);
      expect(cleaned(split(random, text)).join(""), JSON.stringify(text)).toBe(whole(text));
    }
  });
});
