import { readdirSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { onTestFinished } from "vitest";
import type { Db } from "../../src/db/db.ts";
import { as, SECRET } from "./app.ts";
import { type HttpApp, startHttp } from "./http-app.ts";

/** A closed service over a database that the test looks into as well. */
export type Scene = {
  app: HttpApp;
  db: Db;
  call(who: Who, method: string, path: string, body?: unknown, key?: string): ReturnType<HttpApp["call"]>;
};
export type Who = readonly [user: string, role?: "user" | "agent" | "admin"];

export const ROOT: Who = ["root", "admin"];

export async function openScene(url: string, env: Record<string, string> = {}): Promise<Scene> {
  let db: Db | undefined;
  const over = (opened: Db) => {
    db = opened;
    return opened;
  };
  const given = { DATABASE_URL: url, JWT_SECRET: SECRET, RATE_LIMIT: "off", DRAIN_TIMEOUT_S: "1", ...env };
  const app = await startHttp(given, { over });
  onTestFinished(() => app.stop());
  if (!db) throw new Error("the service opened no database");
  return {
    app,
    db,
    call: async ([user, role], method, path, body, key) =>
      app.call(method, path, body, { ...(await as(user, role)), ...(key !== undefined && { "idempotency-key": key }) }),
  };
}

/** Everything that stands in the tables, as one text. */
export async function storedIn({ db }: Pick<Scene, "db">): Promise<string> {
  const rows = await Promise.all(Object.values(db.tables).map((table) => db.select().from(table as never)));
  return JSON.stringify(rows);
}

/** How often a word stands in the files of a SQLite database: itself, its log, and whatever lies beside it. */
export function timesOnDisk(url: string, word: string): number {
  const path = url.replace(/^sqlite:\/\/\//, "");
  const files = readdirSync(dirname(path)).filter((name) => name.startsWith(basename(path)));
  return files.reduce((sum, name) => sum + readFileSync(join(dirname(path), name), "latin1").split(word).length - 1, 0);
}

/** The word, in everything that a user may say of and in a conversation. */
export async function sayEverywhere(
  { call }: Pick<Scene, "call">,
  who: Who,
  word: string,
): Promise<{ id: string; message: string }> {
  const [user] = who;
  const made = await call(who, "POST", "/chats", { title: `A title, ${word}` }, "chat");
  const { id } = made.json;
  const asked = { chat_id: id, message: `What is ${word}?`, system_prompt: `You are ${word}.` };
  const sent = (await call(who, "POST", "/chat", asked, "turn")).json;
  await call(who, "POST", `/api/v1/messages/${sent.message_id}/regenerate`, { system_prompt: `Not ${word}.` });
  const at = `/api/v1/sessions/${id}`;
  await call(who, "PATCH", at, { metadata: { mood: word } });
  const said = { content: `And ${word}!`, sender_type: "user", sender_id: user, metadata: { of: word } };
  const message = (await call(who, "POST", `${at}/messages`, said, "post")).json.id;
  const note = { extension_type: "note", data: { text: word } };
  await call(who, "POST", `/api/v1/messages/${message}/extensions`, note, "hang");
  await call(who, "PATCH", `/api/v1/messages/${message}`, { content: `Rather ${word}?` });
  await call(who, "POST", `${at}/read`, { seq: 2 });
  return { id, message };
}
