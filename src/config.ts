import { existsSync, readFileSync } from "node:fs";
import { parse } from "dotenv";
import { z } from "zod";
import type { Rate } from "./bus/buckets.ts";
import { guessable } from "./config-guessable.ts";
import { lookalikes } from "./config-names.ts";
import { halfGiven, idleChecks } from "./config-pairs.ts";
import { type Env, misread, tidied } from "./config-text.ts";
import {
  aliases,
  bareUrl,
  basePath,
  baseUrl,
  databaseAddress,
  days,
  daysOrOff,
  flag,
  headerText,
  hostName,
  isRedis,
  limit,
  milliseconds,
  origins,
  prices,
  rate,
  type Secret,
  secrets,
  webhookSecret,
  whole,
  windows,
} from "./config-values.ts";
import { unheededIn } from "./db/address.ts";
import { type DatabaseAddress, POOL_LEAST, POOL_MAX, TIMEOUT_MS } from "./db/index.ts";
import { serviceKeys } from "./http/service-keys.ts";
import { GROQ_BASE_URL } from "./models/groq.ts";
import { OPENAI_BASE_URL } from "./models/openai.ts";
import type { ModelsConfig } from "./models/registry.ts";
import { RUNPOD_BASE_URL } from "./models/runpod-jobs.ts";
import { STREAM_BASE_URL } from "./stream-chat/client.ts";
import { streamUserId } from "./stream-chat/users.ts";

/** Any of these closes the service. */
const CLOSED_BY = ["JWT_SECRET", "JWT_JWKS_URL", "API_KEYS"];

/** What one user may take where the service is closed and nothing else is said. */
const RATE: Rate = { count: 600, windowMs: 60_000 };
const TURNS = 20;
const STREAMS = 100;

const environment = z.object({
  PORT: whole(0, 65535).default(8000),
  HOST: hostName.optional(),
  BASE_PATH: basePath.default(""),
  ALLOW_OPEN: flag.default(false),
  DATABASE_URL: z
    .string()
    .default("sqlite:///./parley.db")
    .transform(databaseAddress)
    .register(secrets, { secret: "in the address" }),
  DATABASE_TIMEOUT_MS: whole(100, 600_000).default(TIMEOUT_MS),
  DATABASE_POOL_MAX: whole(POOL_LEAST, 10_000).default(POOL_MAX),
  SQLITE_SYNCHRONOUS: z.enum(["full", "normal"], { error: "must be full or normal" }).default("full"),
  JWT_SECRET: z
    .string()
    .refine((secret) => Buffer.byteLength(secret) >= 32, "must have at least 32 bytes")
    .optional()
    .register(secrets, { secret: "whole" }),
  JWT_JWKS_URL: bareUrl.optional().register(secrets, { secret: "in the address" }),
  JWT_ISSUER: z.string().optional(),
  JWT_AUDIENCE: z.string().optional(),
  WEBHOOK_URL: bareUrl.optional().register(secrets, { secret: "in the address" }),
  WEBHOOK_SECRET: z.string().transform(webhookSecret).optional().register(secrets, { secret: "signing key" }),
  STREAM_API_KEY: headerText.optional(),
  STREAM_SECRET: z.string().optional().register(secrets, { secret: "whole" }),
  STREAM_BASE_URL: baseUrl().default(STREAM_BASE_URL).register(secrets, { secret: "in the address" }),
  STREAM_MIRROR: z.enum(["all", "sessions"], { error: "must be all or sessions" }).default("all"),
  STREAM_ASSISTANT_ID: z
    .string()
    .refine((id) => streamUserId(id) === id, "must be letters, digits, @, _ and -")
    .default("assistant"),
  API_KEYS: z.string().transform(serviceKeys).default([]).register(secrets, { secret: "digests" }),
  ALLOWED_ORIGINS: z.string().default("").transform(origins),
  OPENAI_API_KEY: headerText.optional().register(secrets, { secret: "whole" }),
  OPENAI_BASE_URL: baseUrl(/\/(chat\/completions|responses|models)$/)
    .optional()
    .register(secrets, { secret: "in the address" }),
  GROQ_API_KEY: headerText.optional().register(secrets, { secret: "whole" }),
  GROQ_BASE_URL: baseUrl(/\/openai(\/v1(\/chat\/completions|\/models)?)?$/)
    .default(GROQ_BASE_URL)
    .register(secrets, { secret: "in the address" }),
  RUNPOD_API_KEY: headerText.optional().register(secrets, { secret: "whole" }),
  RUNPOD_ENDPOINT_ID: z
    .string()
    .regex(/^[\w-]+$/, "must be an endpoint's id, as the console shows it")
    .optional(),
  RUNPOD_BASE_URL: baseUrl()
    .refine((value) => !/\/v2\/./.test(value), "must end in /v2: the endpoint's id stands in RUNPOD_ENDPOINT_ID")
    .refine((value) => !isManagement(value), `api.runpod.io is the management API; jobs run at ${RUNPOD_BASE_URL}`)
    .default(RUNPOD_BASE_URL)
    .register(secrets, { secret: "in the address" }),
  RUNPOD_MODE: z.enum(["native", "openai"], { error: "must be native or openai" }).default("native"),
  RUNPOD_INPUT: z.enum(["messages", "prompt"], { error: "must be messages or prompt" }).default("messages"),
  MODELS: z.string().default("").transform(aliases),
  PRICES: z.string().default("").transform(prices),
  MODEL_WINDOWS: z.string().default("").transform(windows),
  FIRST_TOKEN_TIMEOUT_MS: milliseconds.default(10_000),
  LAST_FIRST_TOKEN_TIMEOUT_MS: milliseconds.default(60_000),
  IDLE_TIMEOUT_MS: milliseconds.default(15_000),
  TURN_TIMEOUT_MS: milliseconds.default(300_000),
  MAX_BODY_BYTES: whole(1, 2 ** 30).default(1_048_576),
  MAX_CONNECTIONS: whole(1, 1_000_000).default(10_000),
  KEEP_ALIVE_TIMEOUT_S: whole(1, 3600).default(75),
  REDIS_URL: z
    .string()
    .refine(isRedis, "must be a redis:// or rediss:// URL, like redis://localhost:6379/0")
    .optional()
    .register(secrets, { secret: "in the address" }),
  RATE_LIMIT: z.string().transform(rate).optional(),
  TRUST_PROXY: whole(0, 10).default(0),
  MAX_TURNS_PER_USER: limit.optional(),
  MAX_STREAMS_PER_USER: limit.optional(),
  DAILY_TOKENS_PER_USER: limit.default(null),
  DRAIN_NOTICE_MS: whole(0, 600_000).optional(),
  DELETED_MESSAGE_DAYS: days.default(30),
  RETENTION_DAYS: daysOrOff.default(null),
  DRAIN_TIMEOUT_S: whole(0, 3600).default(20),
  SYSTEM_PROMPT: z.string().optional(),
  METRICS_OPEN: flag.default(false),
  LOG_LEVEL: z
    .enum(["debug", "info", "warn", "error", "silent"], { error: "must be debug, info, warn, error or silent" })
    .default("info"),
  LOG_FORMAT: z.enum(["json", "pretty"], { error: "must be json or pretty" }).optional(),
});

type Environment = z.output<typeof environment>;

const NAMES = Object.keys(environment.shape);
/** Every variable there is, and what in it is secret. */
export const variables: readonly { name: string; secret: Secret | null }[] = Object.entries(environment.shape).map(
  ([name, schema]) => ({ name, secret: secrets.get(schema)?.secret ?? null }),
);

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
    /** Who is told of changes, and what that is signed with. */
    webhook: { url: string; secret: Uint8Array } | null;
    stream: StreamConfig | null;
  };

/** Stream Chat, and what of the conversations is shown there. */
export type StreamConfig = {
  apiKey: string;
  secret: string;
  baseUrl: string;
  mirror: "all" | "sessions";
  /** Under which user there the assistant speaks. */
  assistantId: string;
};

/** `notices` are lines on what is taken for a slip, and stops nothing. */
export type Configured = { config: Config; notices: string[] } | { problems: string[] };

/** Reads the variables, `.env` in the working directory below them; a blank one counts as absent. Throws where that file cannot be read. */
export function readEnvironment(): Record<string, string> {
  const file = existsSync(".env") ? parse(readFileSync(".env", "utf8").replace(/^\uFEFF/, "")) : {};
  return tidied({ ...file, ...process.env });
}

/** Parses the whole configuration at once; `problems` has one line per variable that is wrong, without its value. */
export function parseConfig(env: Env): Configured {
  const given = tidied(env);
  const parsed = environment.safeParse(given);
  const open = CLOSED_BY.every((name) => given[name] === undefined);
  const host = given["HOST"] ?? (open ? "127.0.0.1" : "0.0.0.0");
  const problems = problemsOf(given, parsed.error);
  if (open && !isLoopback(host) && hostName.safeParse(host).success && !flag.safeParse(given["ALLOW_OPEN"]).data) {
    problems.push(
      "HOST: beyond loopback an open service would let anybody in; set JWT_SECRET, JWT_JWKS_URL or API_KEYS, or ALLOW_OPEN=true if that is meant",
    );
  }
  problems.push(...halfGiven(given), ...idleChecks(given));
  if (!parsed.data || problems.length > 0) return { problems };
  return {
    config: {
      ...parsed.data,
      ...limitsFrom(parsed.data, open),
      HOST: host,
      open,
      models: modelsFrom(parsed.data),
      webhook: webhookFrom(parsed.data),
      stream: streamFrom(parsed.data),
    },
    notices: noticesOn(given, parsed.data),
  };
}

/** A line for each variable that is wrong; one that no reader could understand has been given no other. */
function problemsOf(given: Record<string, string>, error: z.ZodError | undefined): string[] {
  const slips = NAMES.flatMap((name) => {
    const slip = misread(given[name] ?? "");
    return slip === undefined ? [] : [[name, slip] as const];
  });
  const issues = error?.issues.map(({ path, message }) => [path.join("."), message] as const) ?? [];
  const others = issues.filter(([name]) => !slips.some(([slipped]) => slipped === name));
  return [...slips, ...others].map(([name, message]) => `${name}: ${message}`);
}

function noticesOn(given: Record<string, string>, { DATABASE_URL }: Environment): string[] {
  const unheeded = unheededIn(DATABASE_URL);
  const named = unheeded.length === 0 ? [] : [`DATABASE_URL: ${unheeded.join(", ")} in it is not heeded`];
  return [...named, ...guessable(given, variables), ...lookalikes(given, NAMES)];
}

/** Where the database is, for what needs nothing else. Throws a plain Error that says what is wrong with the variable. */
export function databaseFrom(env: Env): DatabaseAddress {
  const value = tidied(env)["DATABASE_URL"];
  const { data, error } = environment.shape.DATABASE_URL.safeParse(value);
  const slip = value && misread(value);
  if (!data || slip) throw new Error(`DATABASE_URL: ${slip || error?.issues[0]?.message}`);
  return data;
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
    windows: env.MODEL_WINDOWS,
  };
}

function runpodFrom(env: Environment): NonNullable<ModelsConfig["runpod"]> | null {
  const { RUNPOD_API_KEY: apiKey, RUNPOD_ENDPOINT_ID: endpointId } = env;
  if (apiKey === undefined || endpointId === undefined) return null;
  return { apiKey, endpointId, baseURL: env.RUNPOD_BASE_URL, mode: env.RUNPOD_MODE, input: env.RUNPOD_INPUT };
}

function webhookFrom({ WEBHOOK_URL: url, WEBHOOK_SECRET: secret }: Environment): Config["webhook"] {
  return url === undefined || secret === undefined ? null : { url, secret };
}

function streamFrom(env: Environment): StreamConfig | null {
  const { STREAM_API_KEY: apiKey, STREAM_SECRET: secret } = env;
  if (apiKey === undefined || secret === undefined) return null;
  const { STREAM_BASE_URL: baseUrl, STREAM_MIRROR: mirror, STREAM_ASSISTANT_ID: assistantId } = env;
  return { apiKey, secret, baseUrl, mirror, assistantId };
}

/** A common slip: that host manages endpoints, and knows nothing of jobs. */
const isManagement = (value: string) => URL.parse(value)?.hostname === "api.runpod.io";
