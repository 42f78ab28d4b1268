import type { MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import pino, { type DestinationStream, type Logger } from "pino";
import type { HttpEnv } from "./env.ts";

export type { Logger };

/** JSON lines, or short ones for people on a terminal. No message text is ever given to it; secrets are cut out. */
export function createLog(level: string, format: "json" | "pretty"): Logger {
  const destination: DestinationStream =
    format === "pretty" ? { write: prettyLine } : pino.destination({ dest: 1, sync: false });
  const redact = ["*.authorization", "*.cookie", "*.apiKey", "err.headers", "err.request", "err.params", "err.query"];
  const base = null; // no pid and host name: one process, one stream
  const formatters = { level: (label: string) => ({ level: label }) };
  return pino(
    { level, base, formatters, redact, timestamp: pino.stdTimeFunctions.isoTime, serializers: { err: plainError } },
    destination,
  );
}

/** An error without what drivers hang on it: statements with their parameters, request bodies. */
function plainError(error: unknown): object {
  if (!(error instanceof Error)) return { message: "a value that is no error was thrown" };
  const cause = error.cause instanceof Error ? error.cause : error; // Drizzle's message is the SQL and its parameters
  const code = "code" in cause ? cause.code : undefined;
  return { type: cause.name, message: cause.message, code, stack: cause.stack };
}

function prettyLine(line: string): void {
  const { level, time, msg, ...fields } = JSON.parse(line);
  const rest = Object.entries(fields).map(
    ([key, value]) => `${key}=${typeof value === "object" ? JSON.stringify(value) : value}`,
  );
  process.stdout.write(`${time.slice(11, 23)} ${level.padEnd(5)} ${msg} ${rest.join(" ")}\n`);
}

/** One line per request. */
export function logRequests(log: Logger): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const started = performance.now();
    await next();
    const ms = Math.round((performance.now() - started) * 10) / 10;
    const { method } = c.req;
    log.info({ request_id: c.get("requestId"), method, route: routePath(c, -1), status: c.res.status, ms }, "request");
  };
}
