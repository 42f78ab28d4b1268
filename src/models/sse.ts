/**
 * Decodes server-sent events (WHATWG HTML, "Server-sent events") from raw chunks, cut anywhere. Yields the `data` of the
 * events that each chunk completes, together; other fields and comments are passed over.
 */
export async function* decodeSse(chunks: AsyncIterable<Uint8Array>): AsyncGenerator<string[]> {
  const decoder = new TextDecoder(); // drops a byte order mark, and keeps a character that is cut for the next chunk
  const parser = lineParser();
  for await (const chunk of chunks) {
    const events = parser(decoder.decode(chunk, { stream: true }));
    if (events.length > 0) yield events;
  }
}

function lineParser(): (text: string) => string[] {
  let rest = "";
  let data: string[] = [];
  return (text) => {
    const events: string[] = [];
    rest += text;
    let start = 0;
    for (let end = lineEnd(rest, 0); end !== -1; end = lineEnd(rest, start)) {
      const line = rest.slice(start, end);
      start = rest.startsWith("\r\n", end) ? end + 2 : end + 1;
      const value = dataIn(line);
      if (value !== undefined) data.push(value);
      if (line !== "" || data.length === 0) continue;
      events.push(data.join("\n"));
      data = [];
    }
    rest = rest.slice(start);
    return events;
  };
}

function dataIn(line: string): string | undefined {
  if (line.startsWith("data:")) return line.slice(line.charAt(5) === " " ? 6 : 5);
  return line === "data" ? "" : undefined;
}

/** The next line end at or after `from`; -1 where there is none yet: a CR at the very end may be half of a CRLF. */
function lineEnd(text: string, from: number): number {
  const lf = text.indexOf("\n", from);
  const cr = text.indexOf("\r", from);
  if (cr === -1 || (lf !== -1 && lf < cr)) return lf;
  return cr === text.length - 1 ? -1 : cr;
}
