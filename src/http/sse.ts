import type { Context } from "hono";
import type { HeldToken, HttpEnv, StreamEnd } from "./env.ts";
import { whenExpired } from "./expiry.ts";
import { hangUp } from "./hang-up.ts";
import { idsOfRequest } from "./log.ts";
import { holdStream } from "./open-streams.ts";
import { freeRound, madePiece } from "./turnstile.ts";
import { holdOpen } from "./wait.ts";

/** A stream that has nothing to say says so this often, in milliseconds; the contract allows ten seconds. */
const BEAT_MS = 8_000;
const COMMENT = ":\n\n";
/** A client that takes nothing for so many beats is gone, whatever its connection says. */
const BEATS_MISSED = 15;

export type Frame = { event: string; id?: string; data: unknown };

export const frame = ({ event, id, data }: Frame): string =>
  `${id === undefined ? "" : `id: ${id}\n`}event: ${event}\ndata: ${JSON.stringify(data)}\n\n`;

/** The last event of a stream whose token is taken no more; without an id, so that the client goes on where it was. */
const EXPIRED = frame({
  event: "token.expired",
  data: { detail: "The token has expired; come again with a new one." },
});

type Streaming = {
  log: { error(fields: object, message: string): void };
  /** Ends the stream when it aborts: the client comes again. */
  until?: AbortSignal;
};

/**
 * Answers with an event stream, which ends with the token of its request. Each text that `texts` gives is one write; it is asked for the next only when the client
 * has taken the last. `signal` aborts when the client leaves; the generator is then returned from, wherever it stands.
 */
export function eventStream(
  c: Context<HttpEnv>,
  texts: (signal: AbortSignal) => AsyncGenerator<string>,
  { log, until }: Streaming,
): Response {
  const headers = {
    "Content-Type": "text/event-stream",
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
  };
  if (c.req.method === "HEAD") return c.body(null, 200, headers);
  const failed = (error: unknown) => log.error({ err: error, ...idsOfRequest(c) }, "an event stream failed");
  const [letGo, left] = [holdOpen(c), holdStream(c)];
  const over = Promise.withResolvers<StreamEnd>();
  c.set("streamed", over.promise);
  const done = (end: StreamEnd) => {
    letGo();
    left();
    over.resolve(end);
  };
  const ending = { failed, done, until, token: c.get("token") };
  return c.body(streamOf(texts, { ...ending, breakOff: (controller) => hangUp(c, controller) }), 200, headers);
}

type Ending = {
  failed(error: unknown): void;
  done(end: StreamEnd): void;
  until: AbortSignal | undefined;
  token: HeldToken | undefined;
  breakOff(controller: ReadableStreamDefaultController): void;
};

function streamOf(
  texts: (signal: AbortSignal) => AsyncGenerator<string>,
  { failed, done, until, token, breakOff }: Ending,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const leaving = new AbortController();
  const source = texts(leaving.signal);
  let beat: ReturnType<typeof setInterval> | undefined;
  let end = () => {};
  let stopLooking = () => {};
  let missed = 0;
  const written = { writes: 0, bytes: 0 };
  let wasLong = false;
  function leave(ended: StreamEnd["ended"]) {
    clearInterval(beat);
    stopLooking();
    until?.removeEventListener("abort", end);
    leaving.abort();
    source.return(undefined).catch(failed); // one that waits for its reader would wait for ever
    done({ ended, ...written });
  }
  function write(controller: ReadableStreamDefaultController<Uint8Array>, text: string): number {
    const bytes = encoder.encode(text);
    written.writes += 1;
    written.bytes += bytes.byteLength;
    controller.enqueue(bytes);
    return bytes.byteLength;
  }
  function cutOff(controller: ReadableStreamDefaultController): void {
    leave("reader_stalled");
    breakOff(controller);
  }
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const endAs = (ended: StreamEnd["ended"]) => {
        if (leaving.signal.aborted) return;
        leave(ended);
        controller.close();
      };
      end = () => endAs("stopping");
      until?.addEventListener("abort", end);
      if (until?.aborted) return end();
      stopLooking = whenExpired(token, () => {
        write(controller, EXPIRED);
        endAs("token_expired");
      });
      beat = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) write(controller, COMMENT);
        else if (++missed === BEATS_MISSED) cutOff(controller);
      }, BEAT_MS);
    },
    async pull(controller) {
      missed = 0;
      try {
        if (wasLong) await freeRound();
        const next = await source.next();
        if (leaving.signal.aborted) return;
        if (!next.done) {
          const size = write(controller, next.value);
          wasLong = madePiece(size);
          return;
        }
        leave("completed");
        controller.close();
      } catch (error) {
        if (leaving.signal.aborted) return;
        failed(error);
        leave("failed");
        breakOff(controller); // the client goes on from its last id
      }
    },
    cancel: () => (leaving.signal.aborted ? undefined : leave("client_left")),
  });
}

/** Whether the client wants its answer as a stream: the body says so, or else the Accept header. */
export const wantsStream = (c: Context<HttpEnv>, { stream }: { stream?: boolean | undefined }): boolean =>
  stream ?? (c.req.header("accept") ?? "").includes("text/event-stream");
