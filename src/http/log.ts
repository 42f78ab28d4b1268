import type { Context, MiddlewareHandler } from "hono";
import { routePath } from "hono/route";
import pino, { type Logger } from "pino";
import { idsOf, readTrace } from "../core/trace.ts";
import { hiding } from "../secrets.ts";
import type { HttpEnv } from "./env.ts";
import { timeOf } from "./time.ts";

export type { Logger };

type Format = "json" | "pretty";
type Log = { log: Logger; close(): Promise<void> };

/** Of lines that cannot be written yet, in characters; what comes on top is lost. */
const UNWRITTEN_MOST = 2 ** 24;

/** JSON lines, or short ones for people on a terminal. No message text is ever given to it; secrets are cut out. */
export function openLog(level: string, format: Format, secrets: readonly string[] = []): Log {
  const redact = ["*.authorization", "*.cookie", "*.apiKey", "err.headers", "err.request", "err.params", "err.query"];
  const formatters = { level: (label: string) => ({ level: label }) };
  const options = {
    level,
    base: null, // no pid and host name: one process, one stream
    formatters,
    redact,
    timestamp: () => `,"time":"${timeOf(Date.now())}"`,
    serializers: { err: plainError },
    hooks: { streamWrite: hiding(secrets) }, // whatever an error says
  };
  if (format === "pretty") {
    process.stdout.on("error", goOnUnheard);
    return { log: pino(options, { write: prettyLine }), close: async () => {} };
  }
  const { lines, close } = toStandardOutput();
  return { log: pino(options, lines), close };
}

/** Whoever read the log is gone, or its disk is full: the service goes on. */
function goOnUnheard(): void {}

function toStandardOutput() {
  const lines = pino.destination({ dest: 1, sync: false, maxLength: UNWRITTEN_MOST });
  let fails = false;
  lines.on("error", () => {
    fails = true;
  });
  lines.on("write", () => {
    fails = false;
  });
  const close = () =>
    new Promise<void>((resolve) => {
      lines.once("close", resolve).once("error", resolve);
      if (!fails) return lines.end(); // what is still on its way is written first
      lines.destroy();
      resolve(); // a broken pipe would never say that it is closed
    });
  return { lines, close };
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

/** What a request came to: `ms` until the head of its answer. */
export type Handled = { method: string; route: string; status: number; ms: number };

/** What every line of a request says of it, so that they are found together, and by its trace. */
export const idsOfRequest = (c: Context<HttpEnv>) => ({ request_id: c.get("requestId"), ...idsOf(c.get("trace")) });

/** One line per request, which `told` hears of, too. */
export function logRequests(log: Logger, told: (handled: Handled) => void): MiddlewareHandler<HttpEnv> {
  return async (c, next) => {
    const started = performance.now();
    c.set("trace", readTrace(c.req.header("traceparent"), c.req.header("tracestate")));
    await next();
    const ms = performance.now() - started;
    const handled = { method: c.req.method, route: routePath(c, -1), status: c.res.status };
    log.info({ ...idsOfRequest(c), ...handled, ms: Math.round(ms * 10) / 10 }, "request");
    told({ ...handled, ms });
  };
}
