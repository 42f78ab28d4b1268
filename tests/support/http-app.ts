import { parseConfig } from "../../src/config.ts";
import type { Db } from "../../src/db/db.ts";
import { openDatabase } from "../../src/db/index.ts";
import { openLog } from "../../src/http/log.ts";
import { type Parley, startOver } from "../../src/start.ts";
import { bodyOf, type Called, read } from "./app.ts";

type Operation = { operationId: string; responses: Record<string, unknown> };
export type Document = {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
  [field: string]: unknown;
};

export type HttpApp = {
  parley: Parley;
  /** Calls the app as a client would; a body that is no string is sent as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Called>;
  /** The same for what JSON cannot say: other types, none, streams. */
  request(path: string, init: RequestInit & { duplex?: "half" }): Promise<Called>;
  /** Every status that was answered so far, as `GET /chats 200`, by whether the OpenAPI document declares it. */
  observed(): { declared: string[]; undeclared: string[] };
  stop(): Promise<void>;
};

type Options = { ready?: boolean /** What stands between the service and its database. */; over?: (db: Db) => Db };

/** The whole service in this process without a port, as `startApp`; it also keeps what each operation answered. */
export async function startHttp(
  env: Record<string, string>,
  { ready = true, over = (db) => db }: Options = {},
): Promise<HttpApp> {
  const configured = parseConfig({ SQLITE_SYNCHRONOUS: "normal", ...env });
  if ("problems" in configured) throw new Error(configured.problems.join("\n"));
  const { config } = configured;
  const db = await openDatabase(config.DATABASE_URL, { synchronous: config.SQLITE_SYNCHRONOUS });
  const parley = await startOver(over(db), config, openLog("silent", "json").log);
  if (ready) parley.ready();
  const document: Document = (await read(await parley.app.request("/openapi.json"))).json;
  const seen = new Map<string, boolean>();

  async function request(path: string, init: RequestInit): Promise<Called> {
    const called = await read(await parley.app.request(path, init));
    const operation = operationOf(document, init.method ?? "GET", path);
    if (operation) {
      seen.set(`${operation.name} ${called.status}`, String(called.status) in operation.responses);
    }
    return called;
  }
  return {
    parley,
    request,
    call(method, path, body, headers = {}) {
      const typed = body === undefined ? {} : { "content-type": "application/json" };
      return request(path, {
        method,
        headers: { ...typed, ...headers },
        ...(body !== undefined && { body: bodyOf(body) }),
      });
    },
    observed() {
      const pick = (wanted: boolean) => [...seen].flatMap(([name, declared]) => (declared === wanted ? [name] : []));
      return { declared: pick(true), undeclared: pick(false) };
    },
    stop: () => parley.stop(),
  };
}

function operationOf(document: Document, method: string, path: string) {
  const asked = path.replace(/[?#].*$/, "").replace(/(?<=.)\/$/, "");
  const verb = method === "HEAD" ? "get" : method.toLowerCase();
  for (const [pattern, operations] of Object.entries(document.paths)) {
    const operation = operations[verb];
    if (!operation || !new RegExp(`^${pattern.replace(/\{\w+\}/g, "[^/]+")}$`).test(asked)) continue;
    return { name: `${verb.toUpperCase()} ${pattern}`, responses: operation.responses };
  }
  return undefined;
}
