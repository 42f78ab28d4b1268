import { afterAll, beforeAll } from "vitest";
import { actAs } from "../../src/core/identity.ts";
import type { Db } from "../../src/db/db.ts";
import { type Called, SECRET } from "./app.ts";
import type { databases } from "./databases.ts";
import { type HttpApp, startHttp } from "./http-app.ts";
import { openStream } from "./http-stream.ts";
import { type Asked, type Asking, type Route, requestTo, routesOf } from "./isolation-document.ts";
import { type Operation, operations, type Rows } from "./isolation-operations.ts";
import { type Caller, tokenOf } from "./isolation-people.ts";
import { createRecorder, type Recorder } from "./isolation-record.ts";
import { giverOf, WAIT, type Wanted } from "./isolation-rows.ts";
import { type Provider, startProvider } from "./provider.ts";
import { type FakeStream, startStream } from "./stream.ts";

/** An operation, and what the document says of it. */
export type Tried = { operation: Operation; route: Route };

type More = { key?: string | undefined; named?: string | undefined; until?: Operation["until"] };

/** One service, and what is needed to try it as anybody. */
export type World = {
  app: HttpApp;
  provider: Provider;
  recorder: Recorder;
  routes: Map<string, Route>;
  db: Db;
  /** As somebody, who may name a user; every access to the database is held against them. */
  call(caller: Caller | null, asked: Asked, more?: More): Promise<Called>;
  /** An operation as somebody. */
  ask(caller: Caller | null, tried: Tried, asking: Asking, key?: string): Promise<Called>;
  withToken(token: string, asked: Asked): Promise<Called>;
  /** Rows of an owner: a conversation with a question, something that hangs on it, and an answer. */
  given(owner: Caller, wanted: Wanted): Promise<Rows>;
  /** What somebody is shown of an owner's rows and of its own lists, by operation. */
  shown(viewer: Caller, rows: Rows): Promise<Record<string, { status: number; answer: unknown }>>;
  /** Everything that the owner is shown of its rows and its lists, and everything that is stored. */
  everything(owner: Caller, rows: Rows): Promise<unknown>;
};

type Started = Pick<World, "app" | "provider" | "recorder">;

export function useWorld({ database, fresh }: (typeof databases)[number]): World {
  const world = {} as World;
  let stream: FakeStream;
  beforeAll(async () => {
    const provider = await startProvider();
    stream = await startStream();
    provider.behave(({ body }) => (WAIT.test(body.messages.at(-1)?.content ?? "") ? { headersAfter: Infinity } : {}));
    const recorder = createRecorder(database);
    let db: Db | undefined;
    const over = (opened: Db) => {
      db = opened;
      return recorder.over(opened);
    };
    const env = {
      DATABASE_URL: await fresh(),
      OPENAI_BASE_URL: provider.openaiUrl,
      ...stream.env,
      JWT_SECRET: SECRET,
      RATE_LIMIT: "off",
      LAST_FIRST_TOKEN_TIMEOUT_MS: "3600000", // what is to run still runs at the end
      TURN_TIMEOUT_MS: "3600000",
      DRAIN_TIMEOUT_S: "1",
    };
    const app = await startHttp(env, { over });
    const routes = routesOf((await app.call("GET", "/openapi.json")).json);
    if (!db) throw new Error("the service opened no database");
    const started = { app, provider, recorder };
    const calls = callsOf(started);
    Object.assign(
      world,
      { ...started, routes, db, ...calls, given: giverOf({ ...started, call: calls.call }) },
      looksOf(world, db),
    );
  });
  afterAll(async () => {
    await world.app?.stop();
    await world.provider?.close();
    await stream?.close();
  });
  return world;
}

type Calls = Pick<World, "call" | "ask" | "withToken">;

function callsOf({ app, recorder }: Started): Calls {
  const withToken: World["withToken"] = (token, { method, path, body }) =>
    recorder.as(null, () => app.call(method, path, body, { authorization: `Bearer ${token}` }));
  const call: World["call"] = async (caller, asked, { key, named, until } = {}) => {
    const mayName = caller && (caller.role !== "user" || named === undefined || named === caller.userId);
    const headers = {
      ...(caller && { authorization: `Bearer ${await tokenOf(caller)}` }),
      ...(key !== undefined && { "idempotency-key": key }),
    };
    return recorder.as(mayName ? actAs(caller, named) : null, () => {
      const { method, path, body } = asked;
      return until ? glimpse(app, { asked, headers, until }) : app.call(method, path, body, headers);
    });
  };
  return {
    withToken,
    call,
    ask(caller, { operation, route }, asking, key) {
      const self = caller?.userId;
      const inPath = route.names.includes("path") ? self : undefined; // a user stands there, named or not
      const asked = requestTo(route, operation, { ...(self !== undefined && { self }), ...asking });
      return call(caller, asked, { key, named: asking.named?.user ?? inPath, until: operation.until });
    },
  };
}

type Glimpsed = { asked: Asked; headers: Record<string, string>; until: NonNullable<Operation["until"]> };

/** A stream that does not end, as far as is wanted; or what came in place of one, whole. */
async function glimpse(app: HttpApp, { asked, headers, until }: Glimpsed): Promise<Called> {
  const stream = await openStream(app, asked.method, asked.path, asked.body, headers);
  const isStream = stream.headers.get("content-type")?.startsWith("text/event-stream") ?? false;
  if (isStream) await stream.until(until);
  else await stream.end();
  await stream.leave();
  const text = stream.writes.join("");
  return { status: stream.status, headers: stream.headers, text, json: isStream ? undefined : JSON.parse(text) };
}

function looksOf(world: World, db: Db): Pick<World, "shown" | "everything"> {
  async function shown(viewer: Caller, rows: Rows) {
    const seen: Awaited<ReturnType<World["shown"]>> = {};
    for (const [id, route] of world.routes) {
      const operation = operations[id];
      if (!operation || !isLook(operation, route)) continue;
      if (id === "streamTurn" && (await isRunning(viewer, rows))) continue; // it would not end
      const { status, json, text } = await world.ask(viewer, { operation, route }, { rows });
      seen[id] = { status, answer: withoutRequestId(json ?? text) };
    }
    return seen;
  }
  const isRunning = async (owner: Caller, { turn }: Rows) =>
    (await world.call(owner, { method: "GET", path: `/api/v1/turns/${turn}` })).json.status === "in_progress";

  async function stored() {
    const { conversations, messages, messageExtensions, turns, idempotencyKeys, tombstones, readMarkers } = db.tables;
    const rows: Record<string, unknown>[][] = [
      await db.select().from(conversations).orderBy(conversations.id),
      await db.select().from(messages).orderBy(messages.id),
      await db.select().from(messageExtensions).orderBy(messageExtensions.id),
      await db.select().from(turns).orderBy(turns.id),
      await db.select().from(idempotencyKeys).orderBy(idempotencyKeys.userId, idempotencyKeys.key),
      await db.select().from(tombstones).orderBy(tombstones.id),
      await db.select().from(readMarkers).orderBy(readMarkers.conversationId, readMarkers.readerId),
    ];
    return rows.flat().map((row) => ({ ...row, leaseUntil: null })); // the process renews its leases
  }
  return { shown, everything: async (owner, rows) => ({ shown: await shown(owner, rows), stored: await stored() }) };
}

const isLook = ({ kind }: Operation, { method }: Route): boolean =>
  method === "GET" && (kind === "reaches" || kind === "lists");

/** What a client is told, beside the id that each request has of its own. */
export const withoutRequestId = (answer: unknown): unknown =>
  typeof answer === "object" && answer !== null && !Array.isArray(answer)
    ? { ...answer, request_id: undefined }
    : answer;
