/** The longest line that is taken, in UTF-16 units. A provider's line that never ends must not fill the memory. */
const LINE_MOST = 1_048_576;

/** The longest answer that is taken in one piece, in UTF-16 units. */
const JSON_MOST = 8_388_608;

const tooLarge = () => Object.assign(new Error("the answer is too large"), { code: "answer_too_large" });

/**
 * Decodes server-sent events (WHATWG HTML, "Server-sent events") from raw chunks, cut anywhere. Yields the `data` of the
 * events that each chunk completes, together, and an empty list for a chunk of comments alone, which says that the
 * connection lives. An event at the very end counts without its blank line, and a body that is one JSON value, sent by a
 * server that does not stream, counts as one event. Other fields are passed over. Throws on a line that is too long.
 */
export async function* decodeSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<readonly string[]> {
  const decoder = new TextDecoder(); // drops a byte order mark, and keeps a character that is cut for the next chunk
  let parser: SseParser | undefined;
  for await (const chunk of chunks) {
    const text = decoder.decode(chunk, { stream: true });
    if (!parser && text.trim() === "") continue;
    parser ??= /^\s*[{[]/.test(text) ? jsonParser() : sseParser();
    const events = parser.push(text);
    if (events.length > 0 || parser.sawComment()) yield events;
  }
  const last = parser?.end() ?? [];
  if (last.length > 0) yield last;
}

export type SseParser = {
  /** Gives the `data` of the events that a piece of text completes. */
  push(text: string): string[];
  /** Whether the last piece held a comment. */
  sawComment(): boolean;
  /** The event that the end of the text completes, if there is one. */
  end(): string[];
};

function jsonParser(): SseParser {
  let json = "";
  return {
    push(text) {
      json += text;
      if (json.length > JSON_MOST) throw tooLarge();
      return [];
    },
    sawComment: () => false,
    end: () => [json],
  };
}

/** The same for text that is decoded already. */
export function sseParser(): SseParser {
  let rest = "";
  let afterCr = false; // the last chunk ended in a CR: an LF at the start of the next belongs to it
  let comment = false;
  let data: string[] = [];
  let events: string[] = [];

  function take(line: string): void {
    if (line.startsWith(":")) comment = true;
    const value = dataIn(line);
    if (value !== undefined) data.push(value);
    if (line !== "" || data.length === 0) return;
    events.push(data.join("\n"));
    data = [];
  }

  function push(text: string): string[] {
    comment = false;
    events = [];
    if (text === "") return events;
    let start = afterCr && text.startsWith("\n") ? 1 : 0;
    for (let end = lineEnd(text, start); end !== -1; end = lineEnd(text, start)) {
      take(rest + text.slice(start, end));
      rest = "";
      start = text.startsWith("\r\n", end) ? end + 2 : end + 1;
    }
    rest += text.slice(start);
    afterCr = text.endsWith("\r");
    if (rest.length > LINE_MOST) throw tooLarge();
    return events;
  }

  return { push, sawComment: () => comment, end: () => push("\n\n") };
}

function dataIn(line: string): string | undefined {
  if (line.startsWith("data:")) return line.slice(line.charAt(5) === " " ? 6 : 5);
  return line === "data" ? "" : undefined;
}

/** The next line end at or after `from`; -1 where there is none. */
function lineEnd(text: string, from: number): number {
  const lf = text.indexOf("\n", from);
  const cr = text.indexOf("\r", from);
  return cr === -1 || (lf !== -1 && lf < cr) ? lf : cr;
}
