const TITLE_LENGTH = 60;
const PREVIEW_LENGTH = 200;

/**
 * A title from a first message: its words on one line, at most 60 UTF-16 units, cut between words where that is possible,
 * and never inside a character as people see it. null where nothing of it could be seen.
 */
export function titleFrom(content: string): string | null {
  const line = oneLine(content);
  if (!isVisible(line.slice(0, TITLE_LENGTH))) return null;
  if (line.length <= TITLE_LENGTH) return line;
  const cut = clip(line, TITLE_LENGTH - 1);
  const space = cut.lastIndexOf(" ");
  return `${space > TITLE_LENGTH / 2 ? cut.slice(0, space) : cut}…`;
}

/** The beginning of a message for a list, at most 200 UTF-16 units. */
export function previewOf(content: string): string {
  return content.length <= PREVIEW_LENGTH ? content : `${clip(content, PREVIEW_LENGTH - 1)}…`;
}

const oneLine = (text: string) => text.trim().replace(/\s+/g, " ");

/** Whether there is anything to be seen: no text of blanks, joiners and other characters that have no shape alone. */
export const isVisible = (text: string): boolean =>
  /[^\p{C}\p{Z}\p{M}\p{Default_Ignorable_Code_Point}\u2800]/u.test(text);

const graphemes = new Intl.Segmenter(undefined, { granularity: "grapheme" });
/** No character that people see as one is longer, in UTF-16 units, for our purposes. */
const LONGEST_GRAPHEME = 64;

/** The beginning of a text, never cut inside what people see as one character: a flag, a family, a letter with its accents. */
function clip(text: string, length: number): string {
  const around = text.slice(0, length + LONGEST_GRAPHEME);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: these are all of ASCII
  if (/^[\x00-\x7f]*$/.test(around)) return text.slice(0, length);
  let end = 0;
  for (const { index, segment } of graphemes.segment(around)) {
    if (index + segment.length > length) break;
    end = index + segment.length;
  }
  if (end > 0) return text.slice(0, end);
  return isHighSurrogate(text.charCodeAt(length - 1)) ? text.slice(0, length - 1) : text.slice(0, length);
}

/** The first half of a surrogate pair. */
export const isHighSurrogate = (unit: number) => unit >= 0xd800 && unit <= 0xdbff;

/**
 * Tokens that a text may cost, for any vendor: a quarter of its UTF-16 units, and half of each byte that UTF-8 needs
 * beyond them (Chinese comes out above one a character). Meant to be rather too high than too low.
 */
export function estimateTokens(text: string): number {
  return Math.ceil(text.length / 4 + (Buffer.byteLength(text) - text.length) / 2);
}

/**
 * Makes streamed text storable and cuttable: a trailing high surrogate waits for its other half, U+0000 is dropped, a
 * lone surrogate becomes U+FFFD. `end` gives what still waits.
 */
export function textCleaner(): { push(text: string): string; end(): string } {
  let held = "";
  return {
    push(text) {
      const whole = held + (text.includes("\0") ? text.replaceAll("\0", "") : text);
      const last = whole.length - 1;
      held = isHighSurrogate(whole.charCodeAt(last)) ? whole.slice(last) : "";
      return (held === "" ? whole : whole.slice(0, last)).toWellFormed();
    },
    end() {
      const rest = held.toWellFormed();
      held = "";
      return rest;
    },
  };
}
