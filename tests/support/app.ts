import { parseConfig } from "../../src/config.ts";
import { openLog } from "../../src/http/log.ts";
import { mintToken } from "../../src/http/tokens.ts";
import { startParley } from "../../src/start.ts";

export const SECRET = "a secret of the tests, with more than 32 bytes";

export type TestApp = {
  /** Calls the app as a client would; a body that is no string is sent as JSON. */
  call(method: string, path: string, body?: unknown, headers?: Record<string, string>): Promise<Called>;
  stop(): Promise<void>;
};

// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
export type Called = { status: number; headers: Headers; text: string; json: any };

/** The whole service in this process, over a real database, without a port. */
export async function startApp(env: Record<string, string>): Promise<TestApp> {
  const configured = parseConfig({ SQLITE_SYNCHRONOUS: "normal", ...env });
  if ("problems" in configured) throw new Error(configured.problems.join("\n"));
  const parley = await startParley(configured.config, openLog("silent", "json").log);
  parley.ready();
  return {
    async call(method, path, body, headers = {}) {
      const typed = body === undefined ? {} : { "content-type": "application/json" };
      const init = { method, headers: { ...typed, ...headers }, ...(body !== undefined && { body: bodyOf(body) }) };
      return read(await parley.app.request(path, init));
    },
    stop: () => parley.stop(),
  };
}

export const bodyOf = (body: unknown): string => (typeof body === "string" ? body : JSON.stringify(body));

export async function read(response: Response): Promise<Called> {
  const text = await response.text();
  const isJson = /[/+]json\b/.test(response.headers.get("content-type") ?? "") && text !== "";
  return { status: response.status, headers: response.headers, text, json: isJson ? JSON.parse(text) : undefined };
}

/** An Authorization header for a user of a closed service with `JWT_SECRET: SECRET`. */
export async function as(sub: string, role: "user" | "agent" | "admin" = "user"): Promise<Record<string, string>> {
  return { authorization: `Bearer ${await mintToken(SECRET, { sub, role, expires: "1h" })}` };
}
