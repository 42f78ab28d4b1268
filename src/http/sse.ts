import type { Context } from "hono";
import type { HeldToken, HttpEnv } from "./env.ts";
import { whenExpired } from "./expiry.ts";
import type { Heavy } from "./heavy.ts";
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
    "Cache-Control": "no-cache, no-transform",
    "X-Accel-Buffering": "no",
  };
  if (c.req.method === "HEAD") return c.body(null, 200, headers);
  const failed = (error: unknown) => log.error({ err: error, ...idsOfRequest(c) }, "an event stream failed");
  const [letGo, left] = [holdOpen(c), holdStream(c)];
  const done = () => {
    letGo();
    left();
  };
  return c.body(streamOf(texts, { failed, done, until, token: c.get("token"), heavy: c.get("heavy") }), 200, headers);
}

type Ending = {
  failed(error: unknown): void;
  done(): void;
  until: AbortSignal | undefined;
  token: HeldToken | undefined;
  heavy: Heavy | undefined;
};

function streamOf(
  texts: (signal: AbortSignal) => AsyncGenerator<string>,
  { failed, done, until, token, heavy }: Ending,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const leaving = new AbortController();
  const source = texts(leaving.signal);
  let beat: ReturnType<typeof setInterval> | undefined;
  let end = () => {};
  let stopLooking = () => {};
  let missed = 0;
  let wasLong = false;
  function leave() {
    clearInterval(beat);
    stopLooking();
    until?.removeEventListener("abort", end);
    leaving.abort();
    heavy?.letGo(source);
    source.return(undefined).catch(failed); // one that waits for its reader would wait for ever
    done();
  }
  function cutOff(controller: ReadableStreamDefaultController): void {
    leave();
    controller.error(new Error("the client takes nothing"));
  }
  return new ReadableStream<Uint8Array>({
    start(controller) {
      end = () => {
        if (leaving.signal.aborted) return;
        leave();
        controller.close();
      };
      until?.addEventListener("abort", end);
      if (until?.aborted) return end();
      stopLooking = whenExpired(token, () => {
        controller.enqueue(encoder.encode(EXPIRED));
        end();
      });
      beat = setInterval(() => {
        if ((controller.desiredSize ?? 0) > 0) controller.enqueue(encoder.encode(COMMENT));
        else if (++missed === BEATS_MISSED) cutOff(controller);
      }, BEAT_MS);
    },
    async pull(controller) {
      missed = 0;
      heavy?.letGo(source);
      try {
        if (wasLong) await freeRound();
        const next = await source.next();
        if (leaving.signal.aborted) return;
        if (!next.done) {
          const piece = encoder.encode(next.value);
          wasLong = madePiece(piece.length);
          heavy?.hold(source, piece.length, () => cutOff(controller));
          return controller.enqueue(piece);
        }
        leave();
        controller.close();
      } catch (error) {
        if (leaving.signal.aborted) return;
        failed(error);
        leave();
        controller.error(error); // cut off: the client goes on from its last id
      }
    },
    cancel: leave,
  });
}

/** Whether the client wants its answer as a stream: the body says so, or else the Accept header. */
export const wantsStream = (c: Context<HttpEnv>, { stream }: { stream?: boolean | undefined }): boolean =>
  stream ?? (c.req.header("accept") ?? "").includes("text/event-stream");
