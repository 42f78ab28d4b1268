import { randomBytes } from "node:crypto";
import { describe, expect, it } from "vitest";
import { type Config, parseConfig } from "../../src/config.ts";

const SECRET = "0123456789abcdefghijklmnopqrstuv";

function configFrom(env: Record<string, string | undefined>): Config {
  const configured = parseConfig(env);
  if ("problems" in configured) throw new Error(configured.problems.join("\n"));
  return configured.config;
}

describe("without any variable", () => {
  it("everything has its default", () => {
    expect(configFrom({})).toMatchObject({
      PORT: 8000,
      HOST: "127.0.0.1",
      open: true,
      ALLOW_OPEN: false,
      DATABASE_URL: { dialect: "sqlite", path: "./parley.db" },
      SQLITE_SYNCHRONOUS: "full",
      ALLOWED_ORIGINS: [],
      GROQ_BASE_URL: "https://api.groq.com",
      FIRST_TOKEN_TIMEOUT_MS: 10_000,
      LAST_FIRST_TOKEN_TIMEOUT_MS: 60_000,
      IDLE_TIMEOUT_MS: 15_000,
      TURN_TIMEOUT_MS: 300_000,
      MAX_BODY_BYTES: 1_048_576,
      MAX_CONNECTIONS: 10_000,
      DRAIN_TIMEOUT_S: 20,
      METRICS_OPEN: false,
      LOG_LEVEL: "info",
      models: { openai: null, groq: null, aliases: new Map() },
    });
    expect(configFrom({}).SYSTEM_PROMPT).toBeUndefined();
  });

  it("is the same as with every one of them empty, or with others beside them", () => {
    const names = "PORT HOST ALLOW_OPEN DATABASE_URL SQLITE_SYNCHRONOUS JWT_SECRET ALLOWED_ORIGINS"
      .concat(" JWT_JWKS_URL JWT_ISSUER JWT_AUDIENCE API_KEYS WEBHOOK_URL WEBHOOK_SECRET")
      .concat(" STREAM_API_KEY STREAM_SECRET STREAM_BASE_URL STREAM_MIRROR STREAM_ASSISTANT_ID")
      .concat(" OPENAI_API_KEY OPENAI_BASE_URL GROQ_API_KEY GROQ_BASE_URL MODELS PRICES")
      .concat(" FIRST_TOKEN_TIMEOUT_MS LAST_FIRST_TOKEN_TIMEOUT_MS")
      .concat(" RUNPOD_API_KEY RUNPOD_ENDPOINT_ID RUNPOD_BASE_URL RUNPOD_MODE RUNPOD_INPUT")
      .concat(
        " IDLE_TIMEOUT_MS TURN_TIMEOUT_MS MAX_BODY_BYTES MAX_CONNECTIONS DRAIN_NOTICE_MS DRAIN_TIMEOUT_S SYSTEM_PROMPT LOG_LEVEL LOG_FORMAT",
      )
      .concat(
        " METRICS_OPEN REDIS_URL RATE_LIMIT TRUST_PROXY MAX_TURNS_PER_USER MAX_STREAMS_PER_USER DAILY_TOKENS_PER_USER",
      )
      .split(" ");
    expect(configFrom(Object.fromEntries(names.map((name) => [name, ""])))).toEqual(configFrom({}));
    expect(configFrom(Object.fromEntries(names.map((name) => [name, " \n\t"])))).toEqual(configFrom({}));
    expect(configFrom({ PORTS: "abc", port: "abc", NODE_ENV: "test", HOME: undefined })).toEqual(configFrom({}));
  });
});

describe("around a value", () => {
  it("blanks and line ends are no part of it, as files and forms leave them there", () => {
    const env = {
      JWT_SECRET: SECRET,
      OPENAI_API_KEY: "sk-1",
      PORT: "80",
      DATABASE_URL: "postgres://h/d",
      SYSTEM_PROMPT: "Be brief.",
    };
    const padded = Object.fromEntries(Object.entries(env).map(([name, value]) => [name, ` ${value}\r\n`]));
    expect(configFrom(padded)).toEqual(configFrom(env));
  });

  it.each(['"', "'", "`"])("quotes (%s) are named, and none that are within it", (quote) => {
    for (const name of ["JWT_SECRET", "DATABASE_URL", "SYSTEM_PROMPT", "API_KEYS", "PORT"]) {
      const problems = [expect.stringMatching(new RegExp(`^${name}: stands in quotes`))];
      expect(parseConfig({ [name]: `${quote}hunter2${quote}` })).toEqual({ problems });
    }
    const SYSTEM_PROMPT = `${quote}Yes${quote} is all you say, or ${quote}No${quote}`;
    expect(configFrom({ SYSTEM_PROMPT }).SYSTEM_PROMPT).toBe(SYSTEM_PROMPT);
  });
});

describe("a name that is not read", () => {
  const noticesOn = (env: Record<string, string>) => {
    const parsed = parseConfig(env);
    return "problems" in parsed ? parsed.problems : parsed.notices;
  };

  it.each([
    ["SECRET_KEY", "JWT_SECRET"],
    ["JWT_SECRETS", "JWT_SECRET"],
    ["JWT_SERCET", "JWT_SECRET"],
    ["OPENAI_KEY", "OPENAI_API_KEY"],
    ["OPENAI_APIKEY", "OPENAI_API_KEY"],
    ["openai_api_key", "OPENAI_API_KEY"],
    ["OLLAMA_HOST", "OPENAI_BASE_URL"],
    ["DB_URL", "DATABASE_URL"],
    ["DATABSE_URL", "DATABASE_URL"],
    ["PARLEY_DATABASE_URL", "DATABASE_URL"],
    ["MODEL", "MODELS"],
    ["CORS_ORIGINS", "ALLOWED_ORIGINS"],
    ["CORS_ORIGIN", "ALLOWED_ORIGINS"],
    ["TURN_TIMEOUT", "TURN_TIMEOUT_MS"],
    ["TURN_TIMEOUT_SECONDS", "TURN_TIMEOUT_MS"],
    ["FIRST_TOKEN_TIMEOUT", "FIRST_TOKEN_TIMEOUT_MS"],
    ["IDLE_TIMEOUT", "IDLE_TIMEOUT_MS"],
    ["PARLEY_IDLE_TIMEOUT", "IDLE_TIMEOUT_MS"],
    ["DRAIN_TIMEOUT", "DRAIN_TIMEOUT_S"],
    ["MAX_BODY", "MAX_BODY_BYTES"],
    ["REDIS", "REDIS_URL"],
    ["REDIS_HOST", "REDIS_URL"],
    ["DB_HOST", "DATABASE_URL"],
    ["PGHOST", "DATABASE_URL"],
    ["PARLEY_PORT", "PORT"],
  ])("%s is taken for a slip of %s, without its value", (name, meant) => {
    expect(noticesOn({ [name]: "hunter2" })).toEqual([`${name}: is not read; is ${meant} meant?`]);
    expect(noticesOn({ [name]: " " })).toEqual([]);
  });

  it.each([
    ["DATABSE_URL", "DATABASE_URL", "sqlite:///./a.db"],
    ["PARLEY_DATABASE_URL", "DATABASE_URL", "sqlite:///./a.db"],
    ["TURN_TIMEOUT", "TURN_TIMEOUT_MS", "1000"],
  ])("%s is taken for a slip also where %s is set as well", (name, meant, value) => {
    expect(noticesOn({ [name]: "hunter2", [meant]: value })).toEqual([
      `${name}: is not read; ${meant} is set as well, and is read`,
    ]);
  });

  it("is nobody's business where the one that may be meant is set, or where it looks like none of ours", () => {
    expect(noticesOn({ SECRET_KEY: "x", JWT_SECRET: SECRET })).toEqual([]);
    const names = "HOME PATH PWD USER SHELL TERM LANG HOSTNAME LOGNAME TZ NODE_ENV POSTGRES_PASSWORD MAIL TMPDIR";
    expect(noticesOn(Object.fromEntries(names.split(" ").map((name) => [name, "x"])))).toEqual([]);
    expect(noticesOn({ MODEL: "x", MODELS: "fast=echo/echo" })).toEqual([]);
    expect(noticesOn({ PARLEY_PORT: "tcp://10.0.0.1:8000", PARLEY_SERVICE_HOST: "10.0.0.1" })).toEqual([]);
  });

  it("is also a part of DATABASE_URL that is passed over", () => {
    expect(noticesOn({ DATABASE_URL: "postgres://h/d?sslmode=require&channel_binding=require&foo=1" })).toEqual([
      "DATABASE_URL: channel_binding, foo in it is not heeded",
    ]);
  });
});

describe("a secret that can be guessed is told, without its value:", () => {
  const noticesOn = (env: Record<string, string>) => {
    const parsed = parseConfig(env);
    return "problems" in parsed ? parsed.problems : parsed.notices;
  };

  it.each([
    ["JWT_SECRET", "s".repeat(32)],
    ["JWT_SECRET", "ab".repeat(32)],
    ["JWT_SECRET", "changeme-changeme-changeme-changeme"],
    ["JWT_SECRET", "my-secret-key-which-is-long-enough-for-it"],
    ["OPENAI_API_KEY", "your-api-key-here"],
    ["OPENAI_API_KEY", "sk-xxxxxxxxxxxxxxxx"],
    ["OPENAI_API_KEY", "sk-..."],
    ["GROQ_API_KEY", "YOUR_GROQ_KEY"],
  ])("%s=%s", (name, value) => {
    const notices = noticesOn({ [name]: value });
    expect(notices).toEqual([expect.stringMatching(new RegExp(`^${name}: (can be guessed|looks like a placeholder)`))]);
    expect(notices[0]).not.toContain(value);
  });

  it("none of one that is random", () => {
    const secrets = [randomBytes(32).toString("hex"), randomBytes(32).toString("base64")];
    for (const secret of secrets) expect(noticesOn({ JWT_SECRET: secret, OPENAI_API_KEY: `sk-${secret}` })).toEqual([]);
  });
});

describe("a webhook", () => {
  const WEBHOOK_URL = "https://hooks.example.com/parley/?key=1";

  it("is at its address as it stands, signed with the bytes behind whsec_, or else with those of the text", () => {
    const bytes = Buffer.from("twenty-four bytes or more");
    for (const WEBHOOK_SECRET of [`whsec_${bytes.toString("base64")}`, bytes.toString()]) {
      expect(configFrom({ WEBHOOK_URL, WEBHOOK_SECRET }).webhook).toEqual({ url: WEBHOOK_URL, secret: bytes });
    }
    expect(configFrom({}).webhook).toBeNull();
  });
});

describe("Stream Chat", () => {
  const app = { STREAM_API_KEY: "key", STREAM_SECRET: "secret" };

  it("is an app by its key and secret, at Stream's own address, with every conversation", () => {
    const found = { apiKey: "key", secret: "secret", mirror: "all", assistantId: "assistant" };
    expect(configFrom(app).stream).toEqual({ ...found, baseUrl: "https://chat.stream-io-api.com" });
    expect(configFrom({ STREAM_MIRROR: "sessions", STREAM_ASSISTANT_ID: "x" }).stream).toBeNull();
  });

  it("is elsewhere, or less, where that is said", () => {
    const STREAM_BASE_URL = "https://stream.example.com/";
    const env = { ...app, STREAM_BASE_URL, STREAM_MIRROR: "sessions", STREAM_ASSISTANT_ID: "Parley@bot_1-a" };
    expect(configFrom(env).stream).toMatchObject({
      ...{ baseUrl: "https://stream.example.com", mirror: "sessions", assistantId: "Parley@bot_1-a" },
    });
  });
});

describe("who may come in", () => {
  const JWT_JWKS_URL = "https://issuer.example.com/keys/?v=1";
  const API_KEYS = `crm:user:${"0a".repeat(32)}`;

  it.each([
    ["a key set", { JWT_JWKS_URL }],
    ["service keys", { API_KEYS }],
    ["a secret", { JWT_SECRET: SECRET }],
    ["all of them", { JWT_SECRET: SECRET, JWT_JWKS_URL, API_KEYS }],
  ])("is not everybody with %s, so that it may listen to the world", (_, env) => {
    expect(configFrom(env)).toMatchObject({ open: false, HOST: "0.0.0.0" });
  });

  it("is read as it stands: the URL of a key set, the issuer, the audience, and each service by its key's digest", () => {
    const wanted = { JWT_JWKS_URL, JWT_ISSUER: "https://issuer.example.com/", JWT_AUDIENCE: "parley" };
    const two = `${API_KEYS} , ops-1.eu:admin:${"FF".repeat(32)}`;
    expect(configFrom({ ...wanted, API_KEYS: two })).toMatchObject({
      ...wanted,
      API_KEYS: [
        { name: "crm", role: "user", digest: Buffer.alloc(32, 10) },
        { name: "ops-1.eu", role: "admin", digest: Buffer.alloc(32, 255) },
      ],
    });
    expect(configFrom({}).API_KEYS).toEqual([]);
  });

  it.each(["JWT_ISSUER", "JWT_AUDIENCE"])("is not narrowed by %s where there are no tokens to look into", (name) => {
    for (const beside of [{}, { API_KEYS }]) {
      expect(parseConfig({ [name]: "parley", ...beside })).toEqual({
        problems: [expect.stringMatching(new RegExp(`^${name}: .*JWT_SECRET or JWT_JWKS_URL`))],
      });
    }
    expect(configFrom({ [name]: "parley", JWT_SECRET: SECRET })).toMatchObject({ [name]: "parley" });
  });

  it("is everybody of this machine without a secret, and whoever has a token with one", () => {
    expect(configFrom({})).toMatchObject({ open: true, HOST: "127.0.0.1" });
    expect(configFrom({ JWT_SECRET: SECRET })).toMatchObject({ open: false, HOST: "0.0.0.0", JWT_SECRET: SECRET });
  });

  it("is decided by a secret of 32 bytes, not of 32 characters", () => {
    expect(configFrom({ JWT_SECRET: "ü".repeat(16) }).open).toBe(false);
    expect(parseConfig({ JWT_SECRET: "s".repeat(31) })).toEqual({
      problems: ["JWT_SECRET: must have at least 32 bytes"],
    });
  });

  it.each(["localhost", "LOCALHOST", "127.0.0.1", "127.1.2.3", "::1"])("lets an open service listen on %s", (HOST) => {
    expect(configFrom({ HOST })).toMatchObject({ HOST, open: true });
  });

  it.each([
    "0.0.0.0",
    "::",
    "192.168.1.7",
    "example.com",
    "localhost.example.com",
    "127.0.0.1.example.com",
    "128.0.0.1",
  ])("lets no open service listen on %s, unless ALLOW_OPEN says so or a secret closes it", (HOST) => {
    expect(parseConfig({ HOST })).toEqual({ problems: [expect.stringMatching(/^HOST: /)] });
    expect(parseConfig({ HOST, ALLOW_OPEN: "false" })).toHaveProperty("problems");
    expect(configFrom({ HOST, ALLOW_OPEN: "true" })).toMatchObject({ HOST, open: true });
    expect(configFrom({ HOST, JWT_SECRET: SECRET })).toMatchObject({ HOST, open: false });
  });
});

it.each([
  ["sqlite:///./a.db", { dialect: "sqlite", path: "./a.db" }],
  ["sqlite:////var/a.db", { dialect: "sqlite", path: "/var/a.db" }],
  ["file:a.db", { dialect: "sqlite", path: "a.db" }],
  ["file:///var/a%20b.db", { dialect: "sqlite", path: "/var/a b.db" }],
  ["data/a.db", { dialect: "sqlite", path: "data/a.db" }],
  [":memory:", { dialect: "sqlite", path: ":memory:" }],
  ["postgres://u:p@h:5432/d", { dialect: "postgres", url: "postgres://u:p@h:5432/d" }],
  ["postgresql://h/d", { dialect: "postgres", url: "postgresql://h/d" }],
])("DATABASE_URL=%s is %j", (DATABASE_URL, address) => {
  expect(configFrom({ DATABASE_URL }).DATABASE_URL).toEqual(address);
});

it("ALLOWED_ORIGINS are a list, or * alone", () => {
  const ALLOWED_ORIGINS = "https://app.example.com, http://localhost:3000,";
  expect(configFrom({ ALLOWED_ORIGINS }).ALLOWED_ORIGINS).toEqual(["https://app.example.com", "http://localhost:3000"]);
  expect(configFrom({ ALLOWED_ORIGINS: "*" }).ALLOWED_ORIGINS).toEqual(["*"]);
});

describe("what one user may take", () => {
  const closed = (env: Record<string, string> = {}) => configFrom({ JWT_SECRET: SECRET, ...env });
  const nothing = {
    RATE_LIMIT: null,
    MAX_TURNS_PER_USER: null,
    MAX_STREAMS_PER_USER: null,
    DAILY_TOKENS_PER_USER: null,
  };

  it("is not limited where the service is open, and is where it is closed, but for tokens", () => {
    expect(configFrom({})).toMatchObject({ ...nothing, TRUST_PROXY: 0 });
    expect(configFrom({}).REDIS_URL).toBeUndefined();
    const defaults = {
      RATE_LIMIT: { count: 600, windowMs: 60_000 },
      MAX_TURNS_PER_USER: 20,
      MAX_STREAMS_PER_USER: 100,
    };
    expect(closed()).toMatchObject({ ...defaults, DAILY_TOKENS_PER_USER: null, TRUST_PROXY: 0 });
    expect(closed(Object.fromEntries(Object.keys(nothing).map((name) => [name, ""])))).toEqual(closed());
  });

  it("is limited, or not, as the variables say, open or closed", () => {
    const set = { MAX_TURNS_PER_USER: "1", MAX_STREAMS_PER_USER: "2147483647", DAILY_TOKENS_PER_USER: "1000000" };
    for (const config of [configFrom(set), closed(set)]) {
      expect(config).toMatchObject({
        MAX_TURNS_PER_USER: 1,
        MAX_STREAMS_PER_USER: 2_147_483_647,
        DAILY_TOKENS_PER_USER: 1_000_000,
      });
    }
    expect(closed(Object.fromEntries(Object.keys(nothing).map((name) => [name, "off"])))).toMatchObject(nothing);
  });

  it.each([
    ["10/s", { count: 10, windowMs: 1_000 }],
    ["30/m", { count: 30, windowMs: 60_000 }],
    ["999999/h", { count: 999_999, windowMs: 3_600_000 }],
  ])("is a rate by RATE_LIMIT=%s, open or closed", (RATE_LIMIT, rate) => {
    expect(configFrom({ RATE_LIMIT }).RATE_LIMIT).toEqual(rate);
    expect(closed({ RATE_LIMIT }).RATE_LIMIT).toEqual(rate);
  });

  it.each([
    "redis://localhost",
    "redis://localhost:6379/",
    "redis://user:p%40ss@10.0.0.7:6380/15",
    "rediss://cache.example.com:6379/0",
    "redis://[::1]:6379",
  ])("is shared over REDIS_URL=%s", (REDIS_URL) => {
    expect(configFrom({ REDIS_URL }).REDIS_URL).toBe(REDIS_URL);
  });

  it("is counted behind as many proxies as TRUST_PROXY says", () => {
    expect(configFrom({ TRUST_PROXY: "2" }).TRUST_PROXY).toBe(2);
  });
});

describe("the models", () => {
  it("are OpenAI's with its key, at its address or at another", () => {
    expect(configFrom({ OPENAI_API_KEY: "k" }).models.openai).toEqual({
      apiKey: "k",
      baseURL: "https://api.openai.com/v1",
    });
    expect(configFrom({ OPENAI_API_KEY: "k", OPENAI_BASE_URL: "http://gpu:8080/v1//" }).models.openai).toEqual({
      apiKey: "k",
      baseURL: "http://gpu:8080/v1",
    });
  });

  it.each([
    ["OPENAI_BASE_URL", "http://gpu:8080/v1/chat/completions", "http://gpu:8080/v1"],
    ["OPENAI_BASE_URL", "http://gpu:8080/v1/models/", "http://gpu:8080/v1"],
    ["GROQ_BASE_URL", "https://api.groq.com/openai/v1", "https://api.groq.com"],
    ["GROQ_BASE_URL", "https://api.groq.com/openai/v1/chat/completions", "https://api.groq.com"],
  ] as const)("are where %s=%s means it", (name, value, meant) => {
    expect(configFrom({ [name]: value })[name]).toBe(meant);
  });

  it("are those of a server of one's own by its address alone", () => {
    expect(configFrom({ OPENAI_BASE_URL: "http://localhost:11434/v1" }).models.openai).toEqual({
      apiKey: undefined,
      baseURL: "http://localhost:11434/v1",
    });
  });

  it("are Groq's with its key only", () => {
    expect(configFrom({ GROQ_API_KEY: "k" }).models.groq).toEqual({ apiKey: "k", baseURL: "https://api.groq.com" });
    expect(configFrom({ GROQ_BASE_URL: "http://gpu:8080" }).models.groq).toBeNull();
  });

  it("are RunPod's with its key and an endpoint, as jobs that are given messages unless it is said otherwise", () => {
    const both = { RUNPOD_API_KEY: "k", RUNPOD_ENDPOINT_ID: "abc123" };
    expect(configFrom(both).models.runpod).toEqual({
      apiKey: "k",
      endpointId: "abc123",
      baseURL: "https://api.runpod.ai/v2",
      mode: "native",
      input: "messages",
    });
    const other = { RUNPOD_BASE_URL: "http://gpu:8080/v2/", RUNPOD_MODE: "openai", RUNPOD_INPUT: "prompt" };
    expect(configFrom({ ...both, ...other }).models.runpod).toMatchObject({
      baseURL: "http://gpu:8080/v2",
      mode: "openai",
      input: "prompt",
    });
    expect(configFrom(other).models.runpod).toBeNull();
  });

  it("have the aliases that MODELS gives them, targets in order", () => {
    const MODELS = " fast = groq/openai/gpt-oss-20b , openai/gpt-6-luna ;smart=openai/gpt-6-sol;";
    expect([...configFrom({ MODELS }).models.aliases]).toEqual([
      ["fast", ["groq/openai/gpt-oss-20b", "openai/gpt-6-luna"]],
      ["smart", ["openai/gpt-6-sol"]],
    ]);
  });

  it("are never other ones than those that MODELS writes out", () => {
    const parsed = parseConfig({ MODELS: "fast=openai/tuned=7" }); // taken as it stands, or refused
    const taken = "config" in parsed ? parsed.config.models.aliases.get("fast") : ["openai/tuned=7"];
    expect(taken).toEqual(["openai/tuned=7"]);
  });
});
