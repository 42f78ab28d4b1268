import { existsSync, readFileSync } from "node:fs";
import { parse } from "dotenv";
import { z } from "zod";
import type { Rate } from "./bus/buckets.ts";
import { type DatabaseAddress, parseDatabaseUrl } from "./db/index.ts";
import { GROQ_BASE_URL } from "./models/groq.ts";
import { OPENAI_BASE_URL } from "./models/openai.ts";
import type { Price } from "./models/prices.ts";
import type { ModelsConfig } from "./models/registry.ts";
import { RUNPOD_BASE_URL } from "./models/runpod-jobs.ts";

const whole = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d+$/, { error: "must be a whole number", abort: true })
    .transform(Number)
    .refine((value) => value >= min, { error: `must be at least ${min}`, abort: true })
    .refine((value) => value <= max, `must be at most ${max}`);

const milliseconds = whole(1, 2 ** 31 - 1);
const flag = z.stringbool({ error: "must be true or false" });
const url = z
  .url({ protocol: /^https?$/, error: "must be an http:// or https:// URL" })
  .transform((value) => value.replace(/\/+$/, ""));
const notYet = z.never({ error: "is not supported by this version" }).optional();

/** What one user may take where the service is closed and nothing else is said. */
const RATE: Rate = { count: 600, windowMs: 60_000 };
const TURNS = 20;
const STREAMS = 100;

const limit = z.union([z.literal("off").transform(() => null), whole(1, 2 ** 31 - 1)], {
  error: "must be a positive whole number, or off",
});

const environment = z.object({
  PORT: whole(0, 65535).default(8000),
  HOST: z.string().optional(),
  ALLOW_OPEN: flag.default(false),
  DATABASE_URL: z.string().default("sqlite:///./parley.db").transform(databaseAddress),
  SQLITE_SYNCHRONOUS: z.enum(["full", "normal"], { error: "must be full or normal" }).default("full"),
  JWT_SECRET: z
    .string()
    .refine((secret) => Buffer.byteLength(secret) >= 32, "must have at least 32 bytes")
    .optional(),
  // To ignore these would leave a service more open than it was meant to be.
  JWT_JWKS_URL: notYet,
  JWT_ISSUER: notYet,
  JWT_AUDIENCE: notYet,
  API_KEYS: notYet,
  ALLOWED_ORIGINS: z.string().default("").transform(origins),
  OPENAI_API_KEY: z.string().optional(),
  OPENAI_BASE_URL: url.optional(),
  GROQ_API_KEY: z.string().optional(),
  GROQ_BASE_URL: url.default(GROQ_BASE_URL),
  RUNPOD_API_KEY: z.string().optional(),
  RUNPOD_ENDPOINT_ID: z
    .string()
    .regex(/^[\w-]+$/, "must be an endpoint's id, as the console shows it")
    .optional(),
  RUNPOD_BASE_URL: url
    .refine((value) => !isManagement(value), `api.runpod.io is the management API; jobs run at ${RUNPOD_BASE_URL}`)
    .default(RUNPOD_BASE_URL),
  RUNPOD_MODE: z.enum(["native", "openai"], { error: "must be native or openai" }).default("native"),
  RUNPOD_INPUT: z.enum(["messages", "prompt"], { error: "must be messages or prompt" }).default("messages"),
  MODELS: z.string().default("").transform(aliases),
  PRICES: z.string().default("").transform(prices),
  FIRST_TOKEN_TIMEOUT_MS: milliseconds.default(10_000),
  LAST_FIRST_TOKEN_TIMEOUT_MS: milliseconds.default(60_000),
  IDLE_TIMEOUT_MS: milliseconds.default(15_000),
  TURN_TIMEOUT_MS: milliseconds.default(300_000),
  MAX_BODY_BYTES: whole(1, 2 ** 30).default(1_048_576),
  REDIS_URL: z
    .string()
    .refine(isRedis, "must be a redis:// or rediss:// URL, like redis://localhost:6379/0")
    .optional(),
  RATE_LIMIT: z.string().transform(rate).optional(),
  TRUST_PROXY: whole(0, 10).default(0),
  MAX_TURNS_PER_USER: limit.optional(),
  MAX_STREAMS_PER_USER: limit.optional(),
  DAILY_TOKENS_PER_USER: limit.default(null),
  DRAIN_TIMEOUT_S: whole(0, 3600).default(20),
  SYSTEM_PROMPT: z.string().optional(),
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"], { error: "must be debug, info, warn, error or silent" })
    .default("info"),
  LOG_FORMAT: z.enum(["json", "pretty"], { error: "must be json or pretty" }).optional(),
});

type Environment = z.output<typeof environment>;

type Limits = {
  RATE_LIMIT: Rate | null;
  MAX_TURNS_PER_USER: number | null;
  MAX_STREAMS_PER_USER: number | null;
};

export type Config = Omit<Environment, "HOST" | keyof Limits> &
  Limits & {
    /** Nobody has to show who they are. */
    open: boolean;
    HOST: string;
    models: ModelsConfig;
  };

export type Configured = { config: Config } | { problems: string[] };

/** Reads the variables, `.env` in the working directory below them; an empty one counts as absent. */
export function readEnvironment(): Record<string, string | undefined> {
  const file = existsSync(".env") ? parse(readFileSync(".env", "utf8").replace(/^\uFEFF/, "")) : {};
  return { ...file, ...process.env };
}

/** Parses the whole configuration at once; `problems` has one line per variable that is wrong, without its value. */
export function parseConfig(env: Record<string, string | undefined>): Configured {
  const given = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== undefined && value !== ""));
  const parsed = environment.safeParse(given);
  const open = given["JWT_SECRET"] === undefined;
  const host = given["HOST"] ?? (open ? "127.0.0.1" : "0.0.0.0");
  const problems = parsed.error?.issues.map((issue) => `${issue.path.join(".")}: ${issue.message}`) ?? [];
  if (open && !isLoopback(host) && !flag.safeParse(given["ALLOW_OPEN"]).data) {
    problems.push(
      "HOST: beyond loopback an open service would let anybody in; set JWT_SECRET, or ALLOW_OPEN=true if that is meant",
    );
  }
  problems.push(...halves(given));
  if (!parsed.data || problems.length > 0) return { problems };
  return {
    config: { ...parsed.data, ...limitsFrom(parsed.data, open), HOST: host, open, models: modelsFrom(parsed.data) },
  };
}

/** When open anybody may call themselves anything, and all who do not are one user: nothing is limited but by wish. */
function limitsFrom({ RATE_LIMIT, MAX_TURNS_PER_USER, MAX_STREAMS_PER_USER }: Environment, open: boolean): Limits {
  const given = <T>(value: T | undefined, otherwise: T | null) =>
    value === undefined ? (open ? null : otherwise) : value;
  return {
    RATE_LIMIT: given(RATE_LIMIT, RATE),
    MAX_TURNS_PER_USER: given(MAX_TURNS_PER_USER, TURNS),
    MAX_STREAMS_PER_USER: given(MAX_STREAMS_PER_USER, STREAMS),
  };
}

/** Whether a host name or address means this machine alone. */
export function isLoopback(host: string): boolean {
  const name = host.toLowerCase().replace(/^\[|\]$/g, "");
  return name === "localhost" || name.endsWith(".localhost") || name === "::1" || /^127(\.\d{1,3}){3}$/.test(name);
}

function modelsFrom(env: Environment): ModelsConfig {
  const asksOpenAI = env.OPENAI_API_KEY !== undefined || env.OPENAI_BASE_URL !== undefined;
  return {
    openai: asksOpenAI ? { apiKey: env.OPENAI_API_KEY, baseURL: env.OPENAI_BASE_URL ?? OPENAI_BASE_URL } : null,
    groq: env.GROQ_API_KEY ? { apiKey: env.GROQ_API_KEY, baseURL: env.GROQ_BASE_URL } : null,
    runpod: runpodFrom(env),
    aliases: env.MODELS,
    prices: env.PRICES,
  };
}

function runpodFrom(env: Environment): NonNullable<ModelsConfig["runpod"]> | null {
  const { RUNPOD_API_KEY: apiKey, RUNPOD_ENDPOINT_ID: endpointId } = env;
  if (apiKey === undefined || endpointId === undefined) return null;
  return { apiKey, endpointId, baseURL: env.RUNPOD_BASE_URL, mode: env.RUNPOD_MODE, input: env.RUNPOD_INPUT };
}

/** One of the two without the other would leave RunPod out without a word. */
function halves(given: Record<string, unknown>): string[] {
  const [key, endpoint] = ["RUNPOD_API_KEY", "RUNPOD_ENDPOINT_ID"];
  if (given[key] !== undefined && given[endpoint] === undefined) return [`${endpoint}: is needed beside ${key}`];
  if (given[endpoint] !== undefined && given[key] === undefined) return [`${key}: is needed beside ${endpoint}`];
  return [];
}

/** An address as the client takes it: it would throw on another at the start. */
function isRedis(value: string): boolean {
  const parsed = URL.parse(value);
  if (!parsed || !/^rediss?:$/.test(parsed.protocol) || parsed.hostname === "") return false;
  return /^(\/\d{0,5})?$/.test(parsed.pathname) && isDecodable(parsed.username) && isDecodable(parsed.password);
}

function isDecodable(text: string): boolean {
  try {
    decodeURIComponent(text);
    return true;
  } catch {
    return false;
  }
}

/** `30/m`, `10/s`, `off`: requests in a minute, a second or an hour */
function rate(value: string, context: z.RefinementCtx): Rate | null {
  if (value === "off") return null;
  const [, count, unit] = /^([1-9]\d{0,5})\/([smh])$/.exec(value) ?? [];
  const windowMs = { s: 1_000, m: 60_000, h: 3_600_000 }[unit ?? ""];
  if (windowMs === undefined) {
    context.addIssue({ code: "custom", message: "must look like 600/m, 10/s or off" });
    return z.NEVER;
  }
  return { count: Number(count), windowMs };
}

/** A common slip: that host manages endpoints, and knows nothing of jobs. */
const isManagement = (value: string) => URL.parse(value)?.hostname === "api.runpod.io";

function databaseAddress(value: string, context: z.RefinementCtx): DatabaseAddress {
  try {
    return parseDatabaseUrl(value);
  } catch (error) {
    context.addIssue({ code: "custom", message: error instanceof Error ? error.message : "cannot be read" });
    return z.NEVER;
  }
}

function origins(value: string, context: z.RefinementCtx): string[] {
  const list = value.split(",").map((origin) => origin.trim());
  const named = list.filter((origin) => origin !== "");
  for (const origin of named) {
    if (origin === "*" ? named.length > 1 : !URL.canParse(origin) || new URL(origin).origin !== origin) {
      context.addIssue({ code: "custom", message: "must be origins like https://app.example.com, or * alone" });
      return z.NEVER;
    }
  }
  return named;
}

/** `fast=groq/openai/gpt-oss-20b,openai/gpt-6-luna;smart=…` */
function aliases(value: string, context: z.RefinementCtx): Map<string, string[]> {
  const result = new Map<string, string[]>();
  for (const part of value.split(";").map((text) => text.trim())) {
    if (part === "") continue;
    const [alias = "", list = ""] = [part.split("=", 1)[0], part.slice(part.indexOf("=") + 1)].map((text) =>
      text?.trim(),
    );
    const targets = list.split(",").map((target) => target.trim());
    if (!/^[\w.-]+$/.test(alias) || !targets.every((target) => /^(echo|openai|groq|runpod)\/\S+$/.test(target))) {
      context.addIssue({ code: "custom", message: "must look like fast=groq/model,openai/model;smart=openai/model" });
      return z.NEVER;
    }
    result.set(alias, targets);
  }
  return result;
}

/** `openai/my-model=0.15/0.60;…`: USD per million input and output tokens */
function prices(value: string, context: z.RefinementCtx): Map<string, Price> {
  const result = new Map<string, Price>();
  for (const part of value.split(";").map((text) => text.trim())) {
    if (part === "") continue;
    const [, target, input, output] = /^(\w+\/[^\s=]+)=(\d+(?:\.\d+)?)\/(\d+(?:\.\d+)?)$/.exec(part) ?? [];
    if (target === undefined) {
      context.addIssue({ code: "custom", message: "must look like openai/model=0.15/0.60;groq/model=0.1/0.5" });
      return z.NEVER;
    }
    result.set(target, { input: Number(input), output: Number(output) });
  }
  return result;
}
