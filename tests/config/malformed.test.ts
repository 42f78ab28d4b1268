import { describe, expect, it } from "vitest";
import { parseConfig } from "../../src/config.ts";

const DIGEST = "0123456789abcdef".repeat(4);

const wrong: Record<string, string[]> = {
  PORT: ["abc", "70000", "-1", "80.5", "1e3", "8 0", "9".repeat(30)],
  HOST: ["0.0.0.0", "http://127.0.0.1", "999.1.1.1", "127.0.0.1:8000", "*", "[::1", "a b", "localhost/"],
  BASE_PATH: ["parley", "https://example.com/chat-api", "//chat-api", "/chat api", "/a/../b", "/a?b"],
  ALLOW_OPEN: ["maybe", "2"],
  METRICS_OPEN: ["admin", "2"],
  DATABASE_URL: [
    "mysql://user:hunter2@host/db",
    '"postgres://user:hunter2@host/db"',
    "'sqlite:///./a.db'",
    "postgres://user:hunter2@host/db\nPORT=1",
    "jdbc:postgresql://host/db?user=ann&password=hunter2",
    "\x24{DATABASE_URL}",
    "$DATABASE_URL",
    "\x24{{Postgres.DATABASE_URL}}",
    "psql 'postgres://user:hunter2@host/db'",
    "user:hunter2@host/db",
    "user_name:hunter2@host/db",
    "pgsql_prod//user:hunter2@host/db",
    "your-db.db",
    "postgres://user:hunter2@host",
    "host=/var/run/postgresql dbname=parley",
    "chats",
    "postgres://user:hunter2@host:99999/db",
    "file://host/a.db",
  ],
  SQLITE_SYNCHRONOUS: ["off", "FULL"],
  JWT_SECRET: ["hunter2", "s".repeat(31)],
  JWT_JWKS_URL: [
    "issuer.example.com/jwks.json",
    "ftp://issuer.example.com/jwks.json",
    "file:///etc/keys.json",
    "https://user:hunter2@issuer.example.com/jwks.json",
    "https://hunter2@issuer.example.com/jwks.json",
    "https://:hunter2@issuer.example.com/jwks.json",
  ],
  JWT_ISSUER: ["https://issuer.example.com/"],
  JWT_AUDIENCE: ["parley-of-example"],
  API_KEYS: [
    "hunter2",
    `crm:user:${DIGEST},`,
    `crm:${DIGEST}`,
    `:user:${DIGEST}`,
    `a b:user:${DIGEST}`,
    `${"x".repeat(256)}:user:${DIGEST}`,
    `crm:root:${DIGEST}`,
    `crm:Admin:${DIGEST}`,
    `crm:open:${DIGEST}`,
    `crm:user:${DIGEST.slice(1)}`,
    `crm:user:${DIGEST}0`,
    `crm:user:g${DIGEST.slice(1)}`,
    `crm:user:${DIGEST}:more`,
    `crm:user:${DIGEST},crm:admin:${"0".repeat(64)}`,
    `crm:user:${DIGEST},ops:admin:${DIGEST.toUpperCase()}`,
  ],
  ALLOWED_ORIGINS: [
    "my.example.org",
    "https://example.com/",
    "https://example.com/path",
    "*,https://example.com",
    "null",
  ],
  OPENAI_API_KEY: ["sk-hunter2\nsk-hunter3", "sk-hunter2…", '"sk-hunter2"', "\x24{OPENAI_API_KEY}", "<your key>"],
  GROQ_API_KEY: ["gsk\thunter2", "'gsk-hunter2'", "$GROQ_API_KEY", "{{ groq.key }}"],
  OPENAI_BASE_URL: [
    "localhost",
    "localhost:11434/v1",
    "ftp://example.com",
    "http//example.com",
    "https://example.com/v1?api-version=1",
    "https://ann:hunter2@example.com/v1",
    '"https://example.com/v1"',
  ],
  GROQ_BASE_URL: ["groq", "file:///etc/passwd", "https://example.com/#a"],
  RUNPOD_BASE_URL: [
    "api.runpod.ai/v2",
    "https://api.runpod.ai/v2/abc123/run",
    "https://api.runpod.io/v2",
    "https://API.runpod.io/v2/",
  ],
  RUNPOD_MODE: ["jobs", "Native"],
  RUNPOD_INPUT: ["text", "Prompt"],
  MODELS: [
    "swift",
    "swift=",
    "fast=gpt-9",
    "fast=openai/a;smart=azure/gpt-9",
    "fast=openai/",
    "=openai/gpt-9",
    "a b=openai/gpt-9",
    "fast=openai/gpt 9",
    "fast=openai/gpt-9,",
  ],
  PRICES: ["openai/mine", "openai/mine=1", "openai/model=1/x", "model=1/2", "openai/a=1/2,openai/b=1/2"],
  FIRST_TOKEN_TIMEOUT_MS: ["0", "-1", "10s"],
  LAST_FIRST_TOKEN_TIMEOUT_MS: ["0", "soon", "1.5", "-5"],
  IDLE_TIMEOUT_MS: ["0", "15s"],
  TURN_TIMEOUT_MS: ["0", "2147483648", "Infinity"],
  MAX_BODY_BYTES: ["0", "1MB", "9".repeat(12)],
  MAX_CONNECTIONS: ["0", "many", "9".repeat(12)],
  REDIS_URL: [
    "cache:6379",
    "http://user:hunter2@localhost",
    "redis:hunter2",
    "redis://@",
    "redis:///0",
    "redis://:hunter2@localhost:99999",
    "redis://:hunter2@localhost/cache",
    "redis://:hunter2%@localhost",
    "redis://:hunter2%ff@localhost",
    "rediss//hunter2",
  ],
  STREAM_BASE_URL: [
    "https://stream.example.com?key=1",
    "https://:hunter2@stream.example.com",
    "stream",
    "chat.stream-io-api.com",
    "ftp://stream.example.com",
  ],
  STREAM_MIRROR: ["everything", "Sessions"],
  STREAM_ASSISTANT_ID: ["the assistant", "a.b", "utf8_YQ", "sha256_a", "a".repeat(256)],
  RATE_LIMIT: ["700", "01/h", "600/d", "600/min", "600 / m", "-1/s", "1.5/s", "OFF", "/d", "1000000/s", "600/m;600/h"],
  TRUST_PROXY: ["-1", "11", "true", "10.0.0.0/8", "1.0"],
  MAX_TURNS_PER_USER: ["0", "-1", "none", "1.5", "OFF", "2147483648"],
  MAX_STREAMS_PER_USER: ["0", "-1", "none", "1e3", "2147483648"],
  DAILY_TOKENS_PER_USER: ["0", "-1", "1M", "1,000", "2147483648"],
  DRAIN_NOTICE_MS: ["-1", "600001", "5s"],
  DRAIN_TIMEOUT_S: ["-2", "3601", "a minute"],
  LOG_LEVEL: ["loud", "INFO"],
  LOG_FORMAT: ["xml", "JSON"],
};

const cases = Object.entries(wrong).flatMap(([name, values]) => values.map((value) => ({ name, value })));

describe("a malformed value", () => {
  it.each(cases)(
    "$name=$value is one line that begins with the name and does not show the value",
    ({ name, value }) => {
      const parsed = parseConfig({ [name]: value });
      const problems = "problems" in parsed ? parsed.problems : [];
      expect(problems).toEqual([expect.stringMatching(new RegExp(`^${name}: \\S[^\\n]+$`))]);
      expect(problems[0]).not.toContain(value);
    },
  );

  it("of an address without a file says what would be right", () => {
    expect(parseConfig({ DATABASE_URL: "sqlite:///" })).toEqual({
      problems: [expect.stringMatching(/^DATABASE_URL: .*sqlite:\/\/\/\.\/parley\.db/)],
    });
  });
});

describe("a provider that there is not", () => {
  it.each([
    ["MODELS", "fast=foo/bar"],
    ["PRICES", "foo/bar=1/2"],
  ])("is told with those that there are: %s=%s", (name, value) => {
    expect(parseConfig({ [name]: value })).toEqual({
      problems: [`${name}: foo is no provider; there are echo, openai, groq, runpod`],
    });
  });
});

describe("a name that stands there twice", () => {
  it.each([
    ["MODELS", "fast=openai/a;smart=openai/b;fast=groq/c", "fast"],
    ["PRICES", "openai/a=1/2;openai/a=2/3", "openai/a"],
    ["MODEL_WINDOWS", "openai/a=1000;openai/a=2000", "openai/a"],
  ])("is told: %s=%s", (name, value, twice) => {
    expect(parseConfig({ [name]: value })).toEqual({
      problems: [`${name}: has ${twice} twice; of each name there is one`],
    });
  });
});

describe("HOST", () => {
  it.each(["http://127.0.0.1", "999.1.1.1", "127.0.0.1:8000"])("%s is no host, open or closed", (HOST) => {
    for (const env of [{}, { JWT_SECRET: "0123456789abcdefghijklmnopqrstuv" }]) {
      expect(parseConfig({ HOST, ...env })).toEqual({ problems: [expect.stringMatching(/^HOST: is no host: /)] });
    }
  });
});

it("RATE_LIMIT names every unit", () => {
  for (const RATE_LIMIT of ["600/d", "0/h", "/h"]) {
    expect(parseConfig({ RATE_LIMIT })).toEqual({
      problems: ["RATE_LIMIT: must look like 600/m, 10/s, 1000/h or off"],
    });
  }
});

describe("RunPod", () => {
  it("by the host of its management API is told where jobs run", () => {
    expect(parseConfig({ RUNPOD_BASE_URL: "https://api.runpod.io/v2" })).toEqual({
      problems: ["RUNPOD_BASE_URL: api.runpod.io is the management API; jobs run at https://api.runpod.ai/v2"],
    });
  });

  it("with a key needs an endpoint, and with an endpoint a key", () => {
    expect(parseConfig({ RUNPOD_API_KEY: "hunter2" })).toEqual({
      problems: ["RUNPOD_ENDPOINT_ID: is needed beside RUNPOD_API_KEY"],
    });
    expect(parseConfig({ RUNPOD_ENDPOINT_ID: "abc123" })).toEqual({
      problems: ["RUNPOD_API_KEY: is needed beside RUNPOD_ENDPOINT_ID"],
    });
  });

  it.each(["abc/123", "https://api.runpod.ai/v2/abc123", "a b", ".."])("has no endpoint %s", (RUNPOD_ENDPOINT_ID) => {
    expect(parseConfig({ RUNPOD_API_KEY: "hunter2", RUNPOD_ENDPOINT_ID })).toEqual({
      problems: [expect.stringMatching(/^RUNPOD_ENDPOINT_ID: /)],
    });
  });
});

describe("Stream Chat", () => {
  it.each([
    ["STREAM_API_KEY", "STREAM_SECRET"],
    ["STREAM_SECRET", "STREAM_API_KEY"],
  ])("with %s alone is a line that names %s", (given, missing) => {
    expect(parseConfig({ [given]: "hunter2" })).toEqual({ problems: [`${missing}: is needed beside ${given}`] });
  });
});

describe("a webhook", () => {
  const url = { WEBHOOK_URL: "https://hooks.example.com/parley?key=1" };
  const secret = { WEBHOOK_SECRET: `whsec_${"c2Vj".repeat(8)}` };
  const problemsOf = (env: Record<string, string>) => {
    const parsed = parseConfig(env);
    return "problems" in parsed ? parsed.problems : [];
  };

  it("needs an address and a secret", () => {
    expect(problemsOf({ ...url, ...secret })).toEqual([]);
    expect(problemsOf(url)).toEqual(["WEBHOOK_SECRET: is needed beside WEBHOOK_URL"]);
    expect(problemsOf(secret)).toEqual(["WEBHOOK_URL: is needed beside WEBHOOK_SECRET"]);
  });

  it.each([
    "hooks.example.com",
    "ftp://hooks.example.com",
    "https://user:hunter2@hooks.example.com",
    "https://hunter2@hooks.example.com",
  ])("is not at %s, which is a line that does not show it", (WEBHOOK_URL) => {
    const problems = problemsOf({ ...secret, WEBHOOK_URL });
    expect(problems).toEqual([expect.stringMatching(/^WEBHOOK_URL: \S/)]);
    expect(problems[0]).not.toContain(WEBHOOK_URL);
  });

  it.each([
    "hunter2",
    "s".repeat(23),
    "whsec_hunter2",
    `whsec_${"c2Vj".repeat(7)}c2V`,
    `whsec_${"c2Vj".repeat(8)}-`,
    `whsec_${"c2Vj".repeat(8)} a`,
  ])("is not signed with “%s”, which is a line that does not show it", (WEBHOOK_SECRET) => {
    const problems = problemsOf({ ...url, WEBHOOK_SECRET });
    expect(problems).toEqual([expect.stringMatching(/^WEBHOOK_SECRET: \S/)]);
    expect(problems[0]).not.toContain(WEBHOOK_SECRET);
  });
});

describe("service keys", () => {
  it("have a line for each that is wrong, which says which", () => {
    const API_KEYS = `crm:user:${DIGEST},hunter2,ops:boss:${DIGEST}`;
    expect(parseConfig({ API_KEYS })).toEqual({
      problems: [expect.stringMatching(/^API_KEYS: entry 2 must /), expect.stringMatching(/^API_KEYS: entry 3 must /)],
    });
  });

  it.each([",", " , "])("are not “%s”, which would name none and close the service to all", (API_KEYS) => {
    expect(parseConfig({ API_KEYS })).toHaveProperty("problems.0", expect.stringMatching(/^API_KEYS: entry 1 must /));
  });
});

describe("several malformed values", () => {
  it("are told at once, a line for each", () => {
    const parsed = parseConfig({ PORT: "abc", LOG_LEVEL: "loud", JWT_SECRET: "short", DATABASE_URL: "mysql://h" });
    const problems = "problems" in parsed ? parsed.problems : [];
    expect(problems.map((line) => line.split(":")[0]).sort()).toEqual([
      "DATABASE_URL",
      "JWT_SECRET",
      "LOG_LEVEL",
      "PORT",
    ]);
  });

  it("are told at once also where one is a host that an open service may not have", () => {
    const parsed = parseConfig({ PORT: "abc", HOST: "0.0.0.0" });
    const problems = "problems" in parsed ? parsed.problems : [];
    expect(problems.map((line) => line.split(":")[0]).sort()).toEqual(["HOST", "PORT"]);
  });
});
