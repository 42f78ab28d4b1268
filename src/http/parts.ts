import type { Context, TypedResponse } from "hono";
import type { JSONParsed } from "hono/utils/types";
import type { HttpEnv } from "./env.ts";
import { hangUp } from "./hang-up.ts";
import { idsOfRequest } from "./log.ts";
import { claimStream, holdStream } from "./open-streams.ts";
import { freeRound, madePiece } from "./turnstile.ts";

/** Answers that may be long: they are written out as they are read, so that none is ever held whole. */

/** A shorter answer, in UTF-16 units, goes out in one piece, with its length. */
const SHORT = 65_536;
/** A client that takes nothing of its answer for so long is hung up on, in milliseconds. */
const IDLE_MS = 60_000;

/** JSON that is made piece by piece, and of what type it is once it is whole. */
export type Pieces<T> = AsyncGenerator<string> & { readonly whole?: T };

type Answering<S> = {
  /** Whose open stream a long answer is, while it is written. */
  user: string;
  log: { error(fields: object, message: string): void };
  status?: S;
  type?: string;
};

/**
 * Answers with a text that is made piece by piece. A long one counts as an open stream of the user's, and is asked for its
 * next piece only when the client has taken the last. Throws 429 where the user has too many open.
 */
export async function answerInParts<T, S extends 200 | 201 = 200>(
  c: Context<HttpEnv>,
  pieces: Pieces<T>,
  answering: Answering<S>,
): Promise<Response & TypedResponse<JSONParsed<T>, S, "json">> {
  // The type is for the compiler alone, as it is in `c.json`.
  return (await answer(c, pieces, answering)) as Response & TypedResponse<JSONParsed<T>, S, "json">;
}

async function answer(
  c: Context<HttpEnv>,
  made: AsyncGenerator<string>,
  { user, log, status = 200, type = "application/json" }: Answering<200 | 201>,
): Promise<Response> {
  const headers = { "Content-Type": type };
  const pieces = type === "application/json" ? endingItsLine(made) : made;
  const { begun, isWhole } = await beginning(pieces);
  if (isWhole) return c.body(begun, status, headers);
  if (c.req.method === "HEAD") {
    await pieces.return(undefined);
    return c.body(null, status, headers);
  }
  try {
    claimStream(c, user);
  } catch (error) {
    const isDone = c.req.method !== "GET"; // what was asked for is stored: it is told all the same
    if (!isDone) await pieces.return(undefined);
    if (!isDone) throw error;
  }
  const failed = (error: unknown) => log.error({ err: error, ...idsOfRequest(c) }, "a long answer broke off");
  const idleMs = c.env?.idleMs ?? IDLE_MS;
  return c.body(
    writtenOut(
      { begun, pieces },
      { idleMs, failed, done: holdStream(c), breakOff: (controller) => hangUp(c, controller) },
    ),
    status,
    headers,
  );
}

/** So that a terminal shows its prompt on a line of its own. */
async function* endingItsLine(pieces: AsyncGenerator<string>): AsyncGenerator<string> {
  yield* pieces;
  yield "\n";
}

async function beginning(pieces: AsyncGenerator<string>): Promise<{ begun: string; isWhole: boolean }> {
  let begun = "";
  while (begun.length <= SHORT) {
    await freeRound();
    const next = await pieces.next();
    if (next.done) return { begun, isWhole: true };
    begun += next.value;
    madePiece(next.value.length);
  }
  return { begun, isWhole: false };
}

type Source = { begun: string; pieces: AsyncGenerator<string> };
type Ending = {
  idleMs: number;
  failed(error: unknown): void;
  done(): void;
  breakOff(controller: ReadableStreamDefaultController): void;
};

function writtenOut({ begun, pieces }: Source, ending: Ending): ReadableStream<Uint8Array> {
  const { idleMs, failed, done, breakOff } = ending;
  const encoder = new TextEncoder();
  let first = begun;
  let isOver = false;
  let idle: ReturnType<typeof setTimeout> | undefined;
  function leave() {
    isOver = true;
    clearTimeout(idle);
    pieces.return(undefined).catch(failed);
    done();
  }
  const cutOff = (controller: ReadableStreamDefaultController) => {
    if (isOver) return;
    leave();
    breakOff(controller);
  };
  const next = async () => {
    if (first === "") return pieces.next();
    const value = first;
    first = "";
    return { value, done: false } as const;
  };
  return new ReadableStream<Uint8Array>(
    {
      start(controller) {
        idle = setTimeout(() => cutOff(controller), idleMs);
      },
      async pull(controller) {
        idle?.refresh();
        try {
          await freeRound();
          const piece = await next();
          if (isOver) return;
          if (!piece.done) {
            const bytes = encoder.encode(piece.value);
            madePiece(bytes.length);
            return controller.enqueue(bytes);
          }
          leave();
          controller.close();
        } catch (error) {
          if (isOver) return;
          failed(error);
          cutOff(controller);
        }
      },
      cancel: () => (isOver ? undefined : leave()),
    },
    { highWaterMark: 0 }, // nothing is made before it is asked for
  );
}

type Parts<T> = AsyncIterable<readonly T[]>;

/** A JSON array, part by part. */
export async function* arrayOf<T, J>(parts: Parts<T>, toJson: (row: T) => J): Pieces<J[]> {
  let before = "[";
  for await (const rows of parts) {
    if (rows.length === 0) continue;
    yield before + rows.map((row) => JSON.stringify(toJson(row))).join(",");
    before = ",";
  }
  yield before === "[" ? "[]" : "]";
}

/** A JSON object whose last field is an array, part by part. */
export async function* objectWith<F extends object, const N extends string, T, J>(
  fields: F,
  name: N,
  { parts, toJson }: { parts: Parts<T>; toJson: (row: T) => J },
): Pieces<F & Record<N, J[]>> {
  const opened = JSON.stringify(fields).slice(0, -1);
  yield `${opened}${opened === "{" ? "" : ","}${JSON.stringify(name)}:`;
  yield* arrayOf(parts, toJson);
  yield "}";
}

/** One JSON value in one piece. */
export async function* wholeOf<T>(value: T): Pieces<T> {
  yield JSON.stringify(value);
}

/** Rows that were read at once, a few at a time. */
export async function* partsOf<T>(rows: readonly T[], size: number): AsyncGenerator<readonly T[]> {
  for (let i = 0; i < rows.length; i += size) yield rows.slice(i, i + size);
}
