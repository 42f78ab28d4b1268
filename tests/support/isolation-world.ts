import { randomUUID } from "node:crypto";
import { afterAll, beforeAll, expect } from "vitest";
import { actAs, type Role } from "../../src/core/identity.ts";
import type { Db } from "../../src/db/db.ts";
import { mintToken } from "../../src/http/tokens.ts";
import { type Called, SECRET } from "./app.ts";
import type { databases } from "./databases.ts";
import { type HttpApp, startHttp } from "./http-app.ts";
import { PATIENT } from "./http-expect.ts";
import { openStream } from "./http-stream.ts";
import { type Asked, type Route, requestTo, routesOf } from "./isolation-document.ts";
import { type Operation, operations, type Rows } from "./isolation-operations.ts";
import { createRecorder, type Recorder } from "./isolation-record.ts";
import { type Provider, startProvider } from "./provider.ts";

export type Caller = { role: Role; userId: string };

/** One service, and what is needed to try it as anybody. */
export type World = {
  app: HttpApp;
  provider: Provider;
  recorder: Recorder;
  routes: Map<string, Route>;
  /** As somebody, who may name a user; every access to the database is held against them. */
  call(caller: Caller | null, asked: Asked, more?: { key?: string; named?: string }): Promise<Called>;
  withToken(token: string, asked: Asked): Promise<Called>;
  /** Rows of an owner: a conversation with an answer, and a turn that runs if so wanted. */
  given(owner: Caller, running: boolean): Promise<Rows>;
  /** Everything that the owner is shown of its rows and its lists, and everything that is stored. */
  everything(owner: Caller, rows: Rows): Promise<unknown>;
};

type Started = Pick<World, "app" | "provider" | "recorder">;

/** The last message of who is never answered; one that was interrupted is shown with what was said next. */
const WAIT = /^Wait for me, [\w-]+$/;
let people = 0;

/** Somebody whom no other test has. */
export const somebody = (role: Role = "user"): Caller => ({ role, userId: `${role}-${++people}` });

export const noRows = (): Rows => ({ conversation: randomUUID(), turn: randomUUID(), answer: randomUUID() });

const tokenOf = ({ userId: sub, role }: Caller) => mintToken(SECRET, { sub, role, expires: "1h" });

export function useWorld({ database, fresh }: (typeof databases)[number]): World {
  const world = {} as World;
  beforeAll(async () => {
    const provider = await startProvider();
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
      JWT_SECRET: SECRET,
      RATE_LIMIT: "off",
      LAST_FIRST_TOKEN_TIMEOUT_MS: "300000", // what is to run still runs at the end
      DRAIN_TIMEOUT_S: "1",
    };
    const app = await startHttp(env, { over });
    const routes = routesOf((await app.call("GET", "/openapi.json")).json);
    if (!db) throw new Error("the service opened no database");
    Object.assign(world, { app, provider, recorder, routes }, callsOf({ app, provider, recorder }), looksOf(world, db));
  });
  afterAll(async () => {
    await world.app?.stop();
    await world.provider?.close();
  });
  return world;
}

function callsOf({ app, provider, recorder }: Started): Pick<World, "call" | "withToken" | "given"> {
  const withToken: World["withToken"] = (token, { method, path, body }) => {
    recorder.caller = null;
    return app.call(method, path, body, { authorization: `Bearer ${token}` });
  };
  const call: World["call"] = async (caller, { method, path, body }, { key, named } = {}) => {
    const mayName = caller && (caller.role !== "user" || named === undefined || named === caller.userId);
    recorder.caller = mayName ? actAs(caller, named) : null;
    return app.call(method, path, body, {
      ...(caller && { authorization: `Bearer ${await tokenOf(caller)}` }),
      ...(key && { "idempotency-key": key }),
    });
  };
  return {
    withToken,
    call,
    async given(owner, running) {
      const sent = await call(owner, { method: "POST", path: "/api/chat/send", body: { message: "What is mine?" } });
      const { conversation_id: conversation, turn_id, message_id: answer } = sent.json;
      if (!running) return { conversation, turn: turn_id, answer };
      const wait = `Wait for me, ${turn_id}`;
      const body = { chat_id: conversation, message: wait, stream: true };
      const stream = await openStream(app, "POST", "/chat", body, { authorization: `Bearer ${await tokenOf(owner)}` });
      const [started] = await stream.until("turn.started");
      const isAsked = () => provider.asked.some(({ body: { messages } }) => messages.at(-1)?.content === wait);
      await expect.poll(isAsked, PATIENT).toBe(true);
      await stream.leave();
      return { conversation, turn: started?.data.turn_id, answer };
    },
  };
}

function looksOf(world: World, db: Db): Pick<World, "everything"> {
  async function shown(owner: Caller, rows: Rows) {
    const looks = [...world.routes].filter(([id, route]) => isLook(operations[id], route));
    const seen: Record<string, unknown> = {};
    for (const [id, route] of looks) {
      const asked = requestTo(route, operations[id] as Operation, { rows });
      if (id === "streamTurn" && (await isRunning(owner, rows))) continue; // it would not end
      const { status, json, text } = await world.call(owner, asked);
      seen[id] = { status, answer: withoutRequestId(json ?? text) };
    }
    return seen;
  }
  const isRunning = async (owner: Caller, { turn }: Rows) =>
    (await world.call(owner, { method: "GET", path: `/api/v1/turns/${turn}` })).json.status === "in_progress";

  async function stored() {
    const { conversations, messages, messageExtensions, turns, idempotencyKeys, tombstones } = db.tables;
    const rows: Record<string, unknown>[][] = [
      await db.select().from(conversations).orderBy(conversations.id),
      await db.select().from(messages).orderBy(messages.id),
      await db.select().from(messageExtensions).orderBy(messageExtensions.id),
      await db.select().from(turns).orderBy(turns.id),
      await db.select().from(idempotencyKeys).orderBy(idempotencyKeys.userId, idempotencyKeys.key),
      await db.select().from(tombstones).orderBy(tombstones.id),
    ];
    return rows.flat().map((row) => ({ ...row, leaseUntil: null })); // the process renews its leases
  }
  return { everything: async (owner, rows) => ({ shown: await shown(owner, rows), stored: await stored() }) };
}

const isLook = (operation: Operation | undefined, { method }: Route): boolean =>
  method === "GET" && (operation?.kind === "reaches" || operation?.kind === "lists");

/** What a client is told, beside the id that each request has of its own. */
export const withoutRequestId = (answer: unknown): unknown =>
  typeof answer === "object" && answer !== null && !Array.isArray(answer)
    ? { ...answer, request_id: undefined }
    : answer;
