import type { Context, MiddlewareHandler } from "hono";
import { AppError } from "../core/errors.ts";
import { clientAddress, networkOf } from "./address.ts";
import type { HttpEnv } from "./env.ts";

/** What the bodies that are on their way may take together, in bytes of this process. */

/** For all whom nobody knows, and for all who have shown who they are. */
const UNKNOWN_BYTES = 2 ** 25;
const KNOWN_BYTES = 2 ** 26;
/** One caller may have this part of it. */
const SHARE = 4;
/** Who is turned away may try again then, in seconds. */
const RETRY_AFTER_S = 1;
/** A body of somebody whom nobody knows is there by then, in milliseconds. */
const UNKNOWN_MS = 10_000;

type Budget = { readonly total: number; readonly share: number; readonly held: Map<string, number>; taken: number };

const budgetOf = (bytes: number, most: number): Budget => {
  const total = Math.max(bytes, most * SHARE);
  return { total, share: Math.floor(total / SHARE), held: new Map(), taken: 0 };
};

type Bounded = { most: number; proxies: number; unknownMs?: number };

/**
 * Holds the bodies that are being read to a budget: what a body says that it has, or may have, is taken from it until the
 * body was read or its request is over. Throws 503 where there is no room for it, and 408 for a body of an unknown caller
 * that is too slow.
 */
export function boundBodies({ most, proxies, unknownMs = UNKNOWN_MS }: Bounded): MiddlewareHandler<HttpEnv> {
  const [unknown, known] = [budgetOf(UNKNOWN_BYTES, most), budgetOf(KNOWN_BYTES, most)];
  return async (c, next) => {
    const bytes = bytesToCome(c, most);
    if (bytes === 0) return next();
    const principal = c.get("principal");
    const isKnown = principal !== undefined && principal.role !== "open";
    const caller = isKnown ? callerOf(principal) : networkOf(clientAddress(c, proxies));
    const free = take(isKnown ? known : unknown, caller, bytes);
    c.set("body", { read: free, ms: isKnown ? null : unknownMs });
    try {
      await next();
    } finally {
      free();
    }
  };
}

const callerOf = (principal: { userId: string | null } | { service: string }): string =>
  "service" in principal ? `service:${principal.service}` : `user:${principal.userId}`;

/** Of a GET no body is read, and what comes all the same is none of the service's. */
function bytesToCome({ req }: Context<HttpEnv>, most: number): number {
  if (req.method === "GET" || req.method === "HEAD") return 0;
  const length = req.header("content-length");
  if (length !== undefined) return Math.min(Number(length), most); // a longer one is refused unread
  return req.header("transfer-encoding") === undefined ? 0 : most;
}

function take(budget: Budget, caller: string, bytes: number): () => void {
  const held = budget.held.get(caller) ?? 0;
  if (budget.taken + bytes > budget.total || held + bytes > budget.share) throw overloaded();
  budget.taken += bytes;
  budget.held.set(caller, held + bytes);
  let isHeld = true;
  return () => {
    if (!isHeld) return;
    isHeld = false;
    budget.taken -= bytes;
    const left = (budget.held.get(caller) ?? 0) - bytes;
    if (left > 0) budget.held.set(caller, left);
    else budget.held.delete(caller);
  };
}

const overloaded = () =>
  new AppError("overloaded", "Too many bodies are on their way already; try again in a moment.", {
    retryAfterS: RETRY_AFTER_S,
  });

/** Waits for a body, as long as its sender may take, and gives back what it took of the budget. */
export async function inTime<T>(c: Context<HttpEnv>, reading: Promise<T>): Promise<T> {
  const body = c.get("body");
  if (!body) return reading;
  let timer: ReturnType<typeof setTimeout> | undefined;
  const late = new Promise<never>((_, reject) => {
    const slow = () => reject(new AppError("request_timeout", "The body did not come in time."));
    if (body.ms !== null) timer = setTimeout(slow, body.ms);
  });
  reading.catch(() => {}); // it breaks off once the connection is closed
  try {
    return await Promise.race([reading, late]);
  } finally {
    clearTimeout(timer);
    body.read();
  }
}
