import { type Agent, request } from "node:http";
import { createFrames, type Frame, type Heard, hear, nothingHeard } from "./stream-frames.ts";

export type Reading = {
  status: number;
  headers: Record<string, string | string[] | undefined>;
  /** Every frame with the moment of its arrival, by `performance.now()`. */
  frames: (Frame & { at: number })[];
  /** When comment lines arrived. */
  comments: number[];
  heard: Heard;
  /** What came in place of a stream. */
  problem: string;
  /** Resolves when the connection is over: `whole` if the service ended it, else it was cut. */
  over: Promise<{ whole: boolean }>;
  /** Goes away, as a client does whose tab is closed. */
  drop(): void;
  /** Takes nothing more from the socket, as a client does that cannot follow; and goes on. */
  pause(): void;
  goOn(): void;
};

export type Asking = {
  method?: "GET" | "POST";
  path: string;
  body?: object;
  headers?: Record<string, string>;
  /** What was heard over earlier connections: it is gone on with. */
  heard?: Heard;
  onFrame?: (frame: Frame, reading: Reading) => void;
  agent?: Agent;
  /** Ends it, whether or not anything came. */
  signal?: AbortSignal;
};

/** Reads a stream over a connection of its own. Resolves at its headers; rejects where none came. */
export function readStream(url: string, asking: Asking): Promise<Reading> {
  const { method = asking.body ? "POST" : "GET", path, body, heard = nothingHeard(), onFrame } = asking;
  const headers = {
    accept: "text/event-stream",
    ...(body && { "content-type": "application/json" }),
    ...asking.headers,
  };
  return new Promise((resolve, reject) => {
    const { agent = false, signal } = asking;
    const asked = request(url + path, { method, headers, agent, ...(signal && { signal }) }, (response) => {
      const over = Promise.withResolvers<{ whole: boolean }>();
      const reading: Reading = {
        status: response.statusCode ?? 0,
        headers: response.headers,
        frames: [],
        comments: [],
        heard,
        problem: "",
        over: over.promise,
        drop: () => response.destroy(),
        pause: () => response.pause(),
        goOn: () => response.resume(),
      };
      const take = createFrames(
        (frame) => {
          reading.frames.push({ ...frame, at: performance.now() });
          hear(heard, frame);
          onFrame?.(frame, reading);
        },
        () => reading.comments.push(performance.now()),
      );
      const isStream = response.headers["content-type"]?.startsWith("text/event-stream");
      response.setEncoding("utf8").on("data", (text: string) => {
        if (isStream) take(text);
        else reading.problem += text;
      });
      response.on("error", () => {}); // "close" follows, and says the same
      response.on("close", () => over.resolve({ whole: response.complete }));
      resolve(reading);
    });
    asked.on("error", reject);
    asked.end(body && JSON.stringify(body));
  });
}

/** Follows a turn from where `heard` broke off, and goes on with it. */
export const resume = (url: string, heard: Heard): Promise<Reading> =>
  readStream(url, {
    path: `/api/v1/turns/${heard.turnId}/stream`,
    heard,
    headers: heard.lastId === undefined ? {} : { "last-event-id": heard.lastId },
  });
