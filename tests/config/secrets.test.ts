import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import postgres from "postgres";
import { afterAll, beforeAll, describe, expect, it, vi } from "vitest";
import { variables } from "../../src/config.ts";
import { openLog } from "../../src/http/log.ts";
import { hiding, secretsIn } from "../../src/secrets.ts";
import { as, SECRET } from "../support/app.ts";
import { bundle } from "../support/builds.ts";
import { freshPostgres } from "../support/databases.ts";
import { freePort } from "../support/global.ts";
import { PATIENT } from "../support/http-expect.ts";
import { startWire, type Wire } from "../support/http-proxy.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, launchIn } from "../support/models-launch.ts";
import { ENDPOINT } from "../support/runpod.ts";
import { runToEnd } from "../support/service.ts";

/** A secret for every variable that holds one; a password is one also as its address spells it. */
const SECRETS = {
  jwt: SECRET,
  service: "marker-of-a-service-key",
  openai: "sk-marker-of-openai",
  groq: "gsk_marker_of_groq",
  runpod: 'rpa_marker "of" runpod',
  database: "marker/of@the database",
  redis: "marker-of-redis",
  keys: "marker-of-the-key-server",
  stream: "marker-of-stream",
  hook: "marker-of-a-webhook-address",
  webhook: "marker-of-what-webhooks-are-signed-with",
};
const webhook = Buffer.from(SECRETS.webhook).toString("base64");
const digest = createHash("sha256").update(SECRETS.service).digest("hex");
const forbidden = [...Object.values(SECRETS), ...Object.values(SECRETS).map(encodeURIComponent), digest, webhook];

function expectNoSecret(text: string): void {
  for (const secret of forbidden) expect(text).not.toContain(secret);
}

/** Words of a user, which no log has either. */
const TEXT = "marker-of-a-message";

/** Answers everybody with a failure that repeats all it was sent, as a server does whose debug mode was forgotten. */
const parrot = createServer((request, response) => {
  const said = JSON.stringify({ error: { message: `${request.url} ${JSON.stringify(request.headers)}`, code: "x" } });
  const status = request.url?.includes("groq") ? 500 : 401;
  response.writeHead(status, { "content-type": "application/json", "x-debug": encodeURIComponent(said) }).end(said);
});

let at: string;
let wire: Wire;
let env: Record<string, string>;
beforeAll(async () => {
  await new Promise<void>((resolve) => parrot.listen(0, "127.0.0.1", resolve));
  at = `http://127.0.0.1:${(parrot.address() as AddressInfo).port}`;
  const url = await freshPostgres();
  const admin = postgres(url, { max: 1, onnotice: () => {} });
  const keeper = new URL(url).pathname.slice(1); // roles are those of the whole server
  await admin.unsafe(`create role ${keeper} login superuser password '${SECRETS.database}'`);
  await admin.end();
  wire = await startWire(Object.assign(new URL(url), { username: keeper, password: SECRETS.database }).href);
  env = {
    HOST: "127.0.0.1",
    LOG_LEVEL: "debug",
    JWT_SECRET: SECRETS.jwt,
    JWT_JWKS_URL: `${at}/keys.json?token=${SECRETS.keys}`,
    API_KEYS: `crm:user:${digest}`,
    OPENAI_API_KEY: SECRETS.openai,
    OPENAI_BASE_URL: `${at}/v1`,
    GROQ_API_KEY: SECRETS.groq,
    GROQ_BASE_URL: `${at}/groq`,
    RUNPOD_API_KEY: SECRETS.runpod,
    RUNPOD_BASE_URL: `${at}/v2`,
    RUNPOD_ENDPOINT_ID: ENDPOINT,
    STREAM_API_KEY: "key",
    STREAM_SECRET: SECRETS.stream,
    STREAM_BASE_URL: `${at}/stream`,
    WEBHOOK_URL: `${at}/hook?token=${SECRETS.hook}`,
    WEBHOOK_SECRET: `whsec_${webhook}`,
    DATABASE_URL: wire.url,
    REDIS_URL: `redis://:${SECRETS.redis}@127.0.0.1:${await freePort()}/0`,
    TURN_TIMEOUT_MS: "3000",
  };
});
afterAll(async () => {
  await wire?.close();
  parrot.close();
});

/** What fails on a signal, in a way that nobody waits for, and says all that the environment has. */
const ORPHAN = 'Promise.reject(new Error("orphan: " + Object.values(process.env).join(" ")))';
const EXCEPTION = '(() => { throw new Error("exception: " + Object.values(process.env).join(" ")); })()';

/** Loads it before the service. */
function preloaded(folder: string, fails: string): Record<string, string> {
  const file = join(folder, "fails.mjs");
  writeFileSync(file, `process.on("SIGUSR2", () => void ${fails});`);
  return { NODE_OPTIONS: `--import=${file}`, BUN_OPTIONS: `--preload=${file}` };
}

const all = runtimes.flatMap((runtime) => (["json", "pretty"] as const).map((format) => ({ runtime, format })));

describe.each(all)("on $runtime, in a $format log,", ({ runtime, format }) => {
  it("no failure shows a secret, to the operator or to the caller; one that nobody waits for ends nothing", async () => {
    const folder = freshFolder();
    const service = await launchIn(folder, runtime, { ...env, ...preloaded(folder, ORPHAN), LOG_FORMAT: format });
    const alice = await as("alice");
    const answers: string[] = [];
    const call = async (path: string, body?: unknown, headers: Record<string, string> = alice) => {
      const answer = await service.call(path, body, headers);
      answers.push(JSON.stringify([...answer.headers]), await answer.text());
      return answer.status;
    };
    const key = { authorization: `Bearer ${SECRETS.service}` };
    expect(await call("/chats", undefined, key)).toBe(200);
    for (const model of ["openai/a", "groq/a", "runpod/a"]) {
      expect(await call("/api/chat/send", { message: "x", model }), model).toBeGreaterThanOrEqual(500);
    }
    const { authorization = "" } = await as("alice");
    const [, payload, signature] = authorization.split(".");
    const foreign = `${Buffer.from('{"alg":"RS256","kid":"x"}').toString("base64url")}.${payload}.${signature}`;
    expect(await call("/chats", undefined, { authorization: `Bearer ${foreign}` })).toBe(503);

    service.signal("SIGUSR2");
    const log = () => service.lines.join("\n");
    await expect.poll(log, PATIENT).toContain("orphan: ");
    await wire.cut();
    expect(await call("/chats")).toBe(503);
    expect(await call("/api/chat/send", { message: TEXT })).toBe(503);
    expect(await call("/health", undefined, {})).toBe(503);
    await wire.mend();
    expect(service.exitCode()).toBeNull();
    expect(log()).toContain("a rejection that nobody handled");
    expect(log()).toMatch(/JWT_JWKS_URL cannot be read/);
    expect(log()).toMatch(/Redis is away/);
    expect(log()).toMatch(/a request failed/);
    expectNoSecret(log());
    expect(log()).not.toMatch(new RegExp(`${TEXT}|alice|\\bfrom "`)); // a statement, or what it was given
    expectNoSecret(answers.join("\n"));
  });
});

/** Names of variables that sound like a secret, and hold none. */
const PLAIN: Record<string, string> = {
  STREAM_API_KEY: "Stream's clients are told it",
  DAILY_TOKENS_PER_USER: "these are a model's tokens",
};

it("every variable that sounds like a secret is marked as one where it is defined", () => {
  const named = variables.filter(({ name }) => /KEY|SECRET|TOKEN|PASSWORD|CREDENTIAL|URL/.test(name));
  const forgotten = named.filter(
    ({ name, secret }) => secret === null && !/_TIMEOUT_MS$/.test(name) && !(name in PLAIN),
  );
  expect(forgotten.map(({ name }) => name)).toEqual([]);
  expect(named.length).toBeGreaterThan(10);
});

it("every variable that is marked is cut out of what is written", () => {
  const marked = variables.flatMap(({ name, secret }) => (secret ? [{ name, secret }] : []));
  const marker = "a-marker-of-the-test";
  for (const { name, secret } of marked) {
    const value = {
      whole: marker,
      "signing key": `whsec_${Buffer.from(marker).toString("base64")}`,
      "in the address": `https://user:${marker}@host.example/?key=${marker}`,
      digests: `crm:user:${digest}`,
    }[secret];
    const shown = hiding(secretsIn({ [name]: value }))(`it was ${value}, ${marker} once it was decoded`);
    expect(shown, name).toMatch(/^it was .*…/);
    if (secret !== "digests") expect(shown, name).not.toContain(marker);
    expect(shown, name).not.toContain(digest);
  }
});

it("fields are cut out by their names, and errors by what hangs on them", () => {
  const written: string[] = [];
  vi.spyOn(process.stdout, "write").mockImplementation((line) => written.push(String(line)) > 0);
  const { log } = openLog("info", "pretty");
  const named = { authorization: "by-name-1", cookie: "by-name-2", apiKey: "by-name-3" };
  const error = Object.assign(new Error("it failed"), {
    request: named,
    params: ["by-name-4"],
    query: "by-name-5",
    detail: "by-name-6",
  });
  log.info({ headers: named, err: error, other: "is shown" }, "a line");
  vi.restoreAllMocks();
  expect(written.join("")).toMatch(/a line .*it failed.*is shown/);
  expect(written.join("")).not.toContain("by-name");
});

it.each(runtimes)("on %s an exception that nobody caught ends the process, and shows none", async (runtime) => {
  const folder = freshFolder();
  const own = { ...env, ...preloaded(folder, EXCEPTION), DATABASE_URL: ":memory:" };
  const service = await launchIn(folder, runtime, own);
  service.signal("SIGUSR2");
  await expect.poll(service.exitCode, PATIENT).toBe(1);
  const log = () => service.lines.join("\n");
  await expect.poll(log, PATIENT).toMatch(/"err":.*exception: .*an exception that nobody caught/);
  expectNoSecret(log());
});

it.each(runtimes)("a start on %s that is refused shows none", async (runtime) => {
  const wrong = wire.url.replace(/:[^:@/]+@/, ":wrong-marker@");
  const { code, output } = await runToEnd(runtime, { ...env, DATABASE_URL: wrong }, freshFolder());
  expect([code, output]).toEqual([1, expect.stringMatching(/^DATABASE_URL: .*authentication failed/)]);
  expectNoSecret(output);
  expect(output).not.toContain("wrong-marker");
  const malformed = Object.fromEntries(Object.keys(env).map((name) => [name, SECRETS.openai]));
  const refused = await runToEnd(runtime, { ...env, ...malformed }, freshFolder());
  expect([refused.code, refused.output]).toEqual([1, expect.stringMatching(/^REDIS_URL: /m)]);
  expectNoSecret(refused.output);
});

it("the doctor shows none of what is wrong with any of them", async () => {
  const DATABASE_URL = wire.url.replace(/:[^:@/]+@/, ":wrong-marker@");
  const options = { cwd: freshFolder(), env: { PATH: process.env["PATH"], ...env, DATABASE_URL } };
  const program = await bundle();
  const said = await new Promise<string>((resolve) => {
    execFile(process.execPath, [program, "doctor"], options, (_, out, error) => resolve(out + error));
  });
  for (const part of ["database (postgres)", "key server", "redis", "provider openai", "provider groq"]) {
    expect(said).toContain(`trouble ${part}: `);
  }
  expectNoSecret(said);
  expect(said).not.toContain("wrong-marker");
});
