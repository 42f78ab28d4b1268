/**
 * Decodes server-sent events (WHATWG HTML, "Server-sent events") from raw chunks, cut anywhere. Yields the `data` of the
 * events that each chunk completes, together; other fields and comments are passed over.
 */
export async function* decodeSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder(); // drops a byte order mark, and keeps a character that is cut for the next chunk
  const parser = sseParser();
  for await (const chunk of chunks) {
    const events = parser(decoder.decode(chunk, { stream: true }));
    if (events.length > 0) yield events;
  }
}

/** The same for text that is decoded already: gives the `data` of the events that each piece completes. */
export function sseParser(): (text: string) => string[] {
  let rest = "";
  let afterCr = false; // the last chunk ended in a CR: an LF at the start of the next belongs to it
  let data: string[] = [];
  let events: string[] = [];

  function take(line: string): void {
    const value = dataIn(line);
    if (value !== undefined) data.push(value);
    if (line !== "" || data.length === 0) return;
    events.push(data.join("\n"));
    data = [];
  }

  return (text) => {
    if (text === "") return [];
    events = [];
    let start = afterCr && text.startsWith("\n") ? 1 : 0;
    for (let end = lineEnd(text, start); end !== -1; end = lineEnd(text, start)) {
      take(rest + text.slice(start, end));
      rest = "";
      start = text.startsWith("\r\n", end) ? end + 2 : end + 1;
    }
    rest += text.slice(start);
    afterCr = text.endsWith("\r");
    return events;
  };
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
