import { bodyOf } from "./app.ts";
import type { HttpApp } from "./http-app.ts";

/** One event as it came over the wire, to the byte. */
// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
export type Frame = { raw: string; id: string | undefined; event: string; data: any };

export type Stream = {
  status: number;
  headers: Headers;
  /** What came so far in each read: a write of the service. */
  writes: string[];
  /** Reads one more write; throws where the stream has ended. */
  more(): Promise<void>;
  /** Reads on until a frame is an event of this name, or until the frames are what is wanted; gives all so far. */
  until(wanted: string | ((frames: readonly Frame[]) => boolean)): Promise<Frame[]>;
  /** Reads to the end. */
  end(): Promise<Frame[]>;
  leave(): Promise<void>;
};

/** Asks for a stream, and reads it as it comes. */
export async function openStream(
  { parley }: HttpApp,
  method: string,
  path: string,
  body?: unknown,
  headers: Record<string, string> = {},
): Promise<Stream> {
  const typed = body === undefined ? {} : { "content-type": "application/json" };
  const init = { method, headers: { ...typed, ...headers }, ...(body !== undefined && { body: bodyOf(body) }) };
  const response = await parley.app.request(path, init);
  if (!response.body) throw new Error("the response has no body");
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  const writes: string[] = [];
  const read = async (): Promise<boolean> => {
    const { done, value } = await reader.read();
    if (value !== undefined) writes.push(value);
    return !done;
  };
  const more = async (): Promise<void> => {
    if (!(await read())) throw new Error(`the stream has ended: ${writes.join("")}`);
  };
  const frames = () => framesOf(writes.join(""));
  return {
    status: response.status,
    headers: response.headers,
    writes,
    more,
    async until(wanted) {
      const isThere = typeof wanted === "string" ? hasEvent(wanted) : wanted;
      while (!isThere(frames())) await more();
      return frames();
    },
    async end() {
      while (await read());
      return frames();
    },
    leave: () => reader.cancel(),
  };
}

const hasEvent = (name: string) => (frames: readonly Frame[]) => frames.some(({ event }) => event === name);

/** Every whole event of a stream; comments are none. */
export function framesOf(text: string): Frame[] {
  return text
    .split(/(?<=\n\n)/)
    .filter((raw) => raw.endsWith("\n\n") && !raw.startsWith(":"))
    .map((raw) => {
      const field = (name: string) => new RegExp(`(?:^|\\n)${name}: ([^\\n]*)\\n`).exec(raw)?.[1];
      return { raw, id: field("id"), event: field("event") ?? "", data: JSON.parse(field("data") ?? "null") };
    });
}

/** The text that a client puts together from frames, on top of what it had. */
export function textOf(frames: readonly Frame[], before = ""): string {
  return frames.reduce((text, { event, data }) => {
    if (event === "message.restart") return "";
    return event === "message.delta" ? text + data.text : text;
  }, before);
}
