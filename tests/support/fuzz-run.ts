import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import fc from "fast-check";
import { expect } from "vitest";
import { mintToken } from "../../src/http/tokens.ts";
import { as, type Called, read, SECRET } from "./app.ts";
import { type Description, describeDocument, type Operation } from "./fuzz-document.ts";
import { isEndless, judge } from "./fuzz-judge.ts";
import { createPool, type Pool } from "./fuzz-pool.ts";
import { type Caller, curlOf, type Draft, pathOf, requests, type Sent, sentOf } from "./fuzz-request.ts";
import { type HttpApp, startHttp } from "./http-app.ts";

/** An answer that has not ended by then never does, in milliseconds. */
const PATIENCE_MS = 60_000;

export type Tally = Map<string, { sent: number; done: number }>;
type Run = {
  seed: number;
  numRuns: number;
  tally: Tally;
  /** Operations that have not succeeded by then are tried on for a while, but for those that never do. */
  insist?: { except: readonly string[] };
};

/** Requests more, half of them to an operation that has not succeeded, and how often as many again. */
const MORE_RUNS = 400;
const MORE_TIMES = 10;

/** Sends so many requests to a service with this environment, and holds every answer to its document. */
export async function fuzz(env: Record<string, string>, { seed, numRuns, tally, insist }: Run): Promise<void> {
  const app = await startHttp({ RATE_LIMIT: "off", ...env });
  const unheard: unknown[] = [];
  const hear = (reason: unknown) => void unheard.push(reason);
  process.on("unhandledRejection", hear);
  try {
    const description = describeDocument((await app.call("GET", "/openapi.json")).json);
    for (const { name } of description.operations) if (!tally.has(name)) tally.set(name, { sent: 0, done: 0 });
    const pool = createPool();
    const callers = env["JWT_SECRET"] === undefined ? openCallers : await closedCallers();
    const world = { app, description, pool, tally, unheard };
    const property = fc.asyncProperty(requests(description, callers), (draft) => tryOne(world, draft));
    await fc.assert(property, { seed, numRuns, includeErrorInReport: true });
    const isMissing = ({ name }: Operation) => insist && !insist.except.includes(name) && tally.get(name)?.done === 0;
    for (const operation of description.operations.filter(isMissing)) {
      // Among others, which make what it needs: a session that waits, something that can be taken off again.
      const operations = description.operations.flatMap((one) => [one, operation]);
      const more = fc.asyncProperty(requests({ ...description, operations }, callers), async (draft) => {
        if (!isMissing(operation)) return;
        const tried: Tally = new Map(); // what fails here says nothing of the share that succeeds
        await tryOne({ ...world, tally: tried }, draft);
        if (tried.get(operation.name)?.done) tally.set(operation.name, { sent: 1, done: 1 });
      });
      for (let i = 0; i < MORE_TIMES && isMissing(operation); i++) {
        await fc.assert(more, { seed: seed + i, numRuns: MORE_RUNS, includeErrorInReport: true });
      }
    }
  } finally {
    process.off("unhandledRejection", hear);
    await app.stop();
  }
}

type World = { app: HttpApp; description: Description; pool: Pool; tally: Tally; unheard: unknown[] };

async function tryOne({ app, description, pool, tally, unheard }: World, draft: Draft): Promise<void> {
  const sent = sentOf(draft, pool);
  const { caller, operation } = draft;
  const reached = description.at(sent.method, pathOf(sent));
  try {
    const called = await send(app, sent);
    judge(description, draft, { sent, called });
    await setImmediate(); // Node tells only then of a failure that nobody heard, which would end the service
    expect(unheard.splice(0), "failures of this request, or the one before, that nobody heard").toEqual([]);
    const isDone = called.status >= 200 && called.status < 300 && reached === operation;
    if (draft.isTwice && isDone) {
      const again = await send(app, sent);
      judge(description, draft, { sent, called: again });
      expect(again.status, `the same answer for the same key: ${again.text}`).toBe(called.status);
    }
    if (isDone && sent.method === "DELETE") pool.forget(sent.path);
    else if (isDone) pool.learn(caller.name, operation, called);
    const counted = tally.get(operation.name) ?? { sent: 0, done: 0 };
    tally.set(operation.name, { sent: counted.sent + 1, done: counted.done + (isDone ? 1 : 0) });
  } catch (error) {
    const what = error instanceof Error ? error.message : String(error);
    throw new Error(`${curlOf(sent)}\n${what}`, { cause: error });
  }
}

async function send(app: HttpApp, { method, path, headers, body }: Sent): Promise<Called> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new Error("the answer does not end")), PATIENCE_MS);
  const init = { method, headers, ...(body && { body: Buffer.from(body) }) };
  try {
    const answer = async () => heard(await app.parley.app.request(path, init), path);
    return await Promise.race([answer(), late.promise]);
  } finally {
    clearTimeout(timer);
  }
}

/** A stream that tells nothing for so long is left, in milliseconds. */
const SILENCE_MS = 15;

/** An answer to its end; of a stream that has none what comes at once, and then it is left. */
async function heard(response: Response, path: string): Promise<Called> {
  if (!response.body || !isEndless(path) || response.status !== 200) return read(response);
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const silence = sleep(SILENCE_MS, { done: true, value: undefined } as const);
    const { done, value } = await Promise.race([reader.read(), silence]);
    if (done) break;
    text += value;
  }
  await reader.cancel();
  return { status: response.status, headers: response.headers, text, json: undefined };
}

const caller = (name: string, headers: Record<string, string>, isRefused = false): Caller => ({
  name,
  headers,
  isRefused,
});

const openCallers: [number, Caller][] = [
  [4, caller("alice", { "x-user-id": "alice" })],
  [2, caller("anonymous", {})],
  [1, caller("bob", { "x-user-id": "bob" })],
];

async function closedCallers(): Promise<[number, Caller][]> {
  const bearer = (token: string) => ({ authorization: `Bearer ${token}` });
  const expired = await mintToken(SECRET, { sub: "alice", role: "admin", expires: "-1h" });
  const forged = await mintToken(`${SECRET}, or not`, { sub: "alice", role: "admin", expires: "1h" });
  return [
    [10, caller("alice", await as("alice"))],
    [2, caller("bob", await as("bob"))],
    [2, caller("agent", await as("agent", "agent"))],
    [5, caller("root", await as("root", "admin"))],
    [1, caller("nobody", {}, true)],
    [1, caller("expired", bearer(expired), true)],
    [1, caller("forged", bearer(forged), true)],
  ];
}
