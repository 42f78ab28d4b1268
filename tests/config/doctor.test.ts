import { execFile, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { chmodSync, readdirSync, readFileSync, realpathSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import postgres from "postgres";
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it, onTestFinished } from "vitest";
import { startApp } from "../support/app.ts";
import { bundle } from "../support/builds.ts";
import { databases, freshPostgres } from "../support/databases.ts";
import { freePort } from "../support/global.ts";
import { type KeyAnswer, saying, silent, startKeyServer } from "../support/http-keys.ts";
import { freshFolder } from "../support/models-launch.ts";
import { type Provider, startProvider } from "../support/provider.ts";
import { describeRedis, type RedisServer, startRedis } from "../support/redis.ts";
import { ENDPOINT, type FakeRunpod, startRunpod } from "../support/runpod.ts";
import { KEY as RUNPOD_KEY } from "../support/runpod-outputs.ts";
import { runCommand, startService } from "../support/service.ts";
import { startStream } from "../support/stream.ts";

const SECRETS = { openai: "sk-nobody-may-see", groq: "gsk-nobody-may-see", runpod: RUNPOD_KEY, database: "pa55-w0rd" };

/** Root may write everything; here it may not. */
const AS_NOBODY = process.getuid?.() === 0 ? ["unshare", "--user"] : [];
const canBeNobody = spawnSync("env", [...AS_NOBODY, "true"]).status === 0;
if (!canBeNobody) console.warn("SKIPPED: no unshare on this machine, so root writes every file");

type Said = { code: number; lines: string[] };

let folder: string;
let openai: Provider;
let groq: Provider;
let runpod: FakeRunpod;
beforeAll(async () => {
  [openai, groq, runpod] = await Promise.all([startProvider(), startProvider(), startRunpod()]);
});
beforeEach(() => {
  folder = freshFolder();
  openai.list(["gpt-6-luna", "gpt-6-sol"]);
  groq.list(["openai/gpt-oss-20b", "openai/gpt-oss-120b"]);
  runpod.staff({ ready: 1 });
});
afterAll(() => Promise.all([openai?.close(), groq?.close(), runpod?.close()]));

/** Runs the doctor in a folder of its own; it may never say a secret, nor write on the side. */
async function doctor(env: Record<string, string> = {}): Promise<Said> {
  const options = {
    cwd: folder,
    env: { PATH: process.env["PATH"], NODE_COMPILE_CACHE: join(inject("folder"), "compiled"), ...env },
  };
  const program = await bundle();
  const { code, out, error } = await new Promise<{ code: number; out: string; error: string }>((resolve) => {
    const child = execFile(process.execPath, [program, "doctor"], options, (_, out, error) =>
      resolve({ code: child.exitCode ?? -1, out, error }),
    );
  });
  expect(error).toBe("");
  for (const secret of Object.values(SECRETS)) expect(out).not.toContain(secret);
  return { code, lines: out.trimEnd().split("\n") };
}

const atOpenAI = () => ({
  OPENAI_API_KEY: SECRETS.openai,
  OPENAI_BASE_URL: openai.openaiUrl,
  MODELS: "fast=openai/gpt-6-luna;balanced=openai/gpt-6-luna;smart=openai/gpt-6-sol",
});
const atRunpod = () => ({
  RUNPOD_API_KEY: SECRETS.runpod,
  RUNPOD_BASE_URL: runpod.url,
  RUNPOD_ENDPOINT_ID: ENDPOINT,
});

/** The lines of what is wrong; there have to be some, and the exit code has to say so. */
function troubles({ code, lines }: Said): string[] {
  expect(code).toBe(1);
  return lines.filter((line) => line.startsWith("trouble"));
}

describe("a doctor who finds all well", () => {
  it("says a line for the database, for each provider, and for each target of each alias, and ends with 0", async () => {
    const groqs = { GROQ_API_KEY: SECRETS.groq, GROQ_BASE_URL: groq.groqUrl };
    const MODELS = "fast=groq/openai/gpt-oss-20b,openai/gpt-6-luna;balanced=openai/gpt-6-luna;smart=openai/gpt-6-sol";
    const said = await doctor({
      JWT_SECRET: "0123456789abcdefghijklmnopqrstuv",
      ...atOpenAI(),
      ...groqs,
      ...atRunpod(),
      MODELS,
    });
    expect(said).toEqual({
      code: 0,
      lines: [
        `ok      database (sqlite): ${join(realpathSync(folder), "parley.db")} is not there yet; the first start makes it`,
        "ok      provider openai: reachable, lists 2 models",
        "ok      provider groq: reachable, lists 2 models",
        "ok      model fast: groq/openai/gpt-oss-20b: known",
        "ok      model fast: openai/gpt-6-luna: known",
        "ok      model balanced: openai/gpt-6-luna: known",
        "ok      model smart: openai/gpt-6-sol: known",
        "ok      provider runpod: workers: 0 idle, 0 initializing, 1 ready, 0 running, 0 throttled, 0 unhealthy; 1 jobs in line",
      ],
    });
  });

  it("says that another process serves the file, and not so once that has ended, however it did", async () => {
    const env = { DATABASE_URL: join(folder, "parley.db") };
    const said = async () => (await doctor(env)).lines.filter((line) => line.includes(" database "));
    const service = await startService("node", env);
    onTestFinished(() => void service.end("SIGKILL"));
    expect(await said()).toEqual([expect.stringMatching(/^warn .*up to date; it is served by another process now/)]);
    await service.end("SIGKILL");
    expect(await said()).toEqual([expect.stringMatching(/^ok .*up to date$/)]);
  });

  it("counts the keys of a key server", async () => {
    const server = await startKeyServer([{ kty: "oct", k: "AA" }]);
    const { code, lines } = await doctor({ JWT_JWKS_URL: server.url });
    await server.close();
    expect([code, lines[1]]).toEqual([0, "ok      key server: reachable, has 1 keys"]);
  });

  it("asks with the keys that the service would use", async () => {
    await doctor(atOpenAI());
    expect(openai.lists.at(-1)?.authorization).toBe(`Bearer ${SECRETS.openai}`);
  });

  it("says that a service without any provider answers by itself", async () => {
    const { code, lines } = await doctor();
    expect(code).toBe(0);
    expect(lines).toContain("ok      model balanced: echo/echo: built in");
    expect(lines).toContainEqual(expect.stringMatching(/^warn {4}provider: none: .*OPENAI_API_KEY/));
  });

  it("warns of an open service, and of what looks like a slip, without its value", async () => {
    const { code, lines } = await doctor({ ...atOpenAI(), SECRET_KEY: SECRETS.groq });
    expect(code).toBe(0);
    expect(lines.filter((line) => line.startsWith("warn"))).toEqual([
      expect.stringMatching(/^warn {4}access: open: .*JWT_SECRET/),
      "warn    configuration: SECRET_KEY: is not read; is JWT_SECRET meant?",
    ]);
  });

  it("names the model that a server of one's own stands for", async () => {
    openai.list(["llama-local", "other"]);
    const { code, lines } = await doctor({ OPENAI_BASE_URL: openai.openaiUrl });
    expect(code).toBe(0);
    expect(lines).toContain("ok      model balanced: openai/*: stands for llama-local");
  });

  it.each([
    ["a day", "2099-03-31"],
    ["seconds", Date.parse("2099-03-31T00:00:00Z") / 1000],
  ])("shows when a model is announced to be switched off, given as %s", async (_, shutdown_date) => {
    openai.list([{ id: "gpt-6-luna", shutdown_date }, "gpt-6-sol"]);
    const { code, lines } = await doctor(atOpenAI());
    expect(code).toBe(0);
    expect(lines).toContain("ok      model fast: openai/gpt-6-luna: known, switched off on 2099-03-31");
    expect(lines).toContain("ok      model smart: openai/gpt-6-sol: known");
  });

  it("counts workers that start as workers", async () => {
    runpod.staff({ initializing: 2 });
    expect((await doctor(atRunpod())).code).toBe(0);
  });
});

describe("a doctor who finds trouble says it in a line and ends with 1, when", () => {
  it("a variable is malformed, without its value", async () => {
    expect(troubles(await doctor({ PORT: SECRETS.openai, TURN_TIMEOUT_MS: "soon" }))).toEqual([
      "trouble configuration: PORT: must be a whole number",
      "trouble configuration: TURN_TIMEOUT_MS: must be a whole number",
    ]);
  });

  it("a provider is not there", async () => {
    const OPENAI_BASE_URL = `http://127.0.0.1:${await freePort()}/v1`;
    expect(troubles(await doctor({ ...atOpenAI(), OPENAI_BASE_URL }))).toEqual([
      "trouble provider openai: openai could not be reached.",
      "trouble model fast: openai/gpt-6-luna: its provider cannot be asked",
      "trouble model balanced: openai/gpt-6-luna: its provider cannot be asked",
      "trouble model smart: openai/gpt-6-sol: its provider cannot be asked",
    ]);
  });

  it("a server of one's own has nothing where it is looked for, and asks whether /v1 is missing", async () => {
    openai.list(404);
    const nothing =
      "trouble provider openai: openai has nothing at that address; does OPENAI_BASE_URL need /v1 at its end?";
    const OPENAI_BASE_URL = openai.openaiUrl.replace(/\/v1$/, "");
    expect(troubles(await doctor({ OPENAI_BASE_URL }))[0]).toBe(nothing);
    const page = await startKeyServer(saying(200, "<html>"));
    onTestFinished(() => page.close());
    expect(troubles(await doctor({ OPENAI_BASE_URL: new URL(page.url).origin }))[0]).toBe(nothing);
    expect(troubles(await doctor({ OPENAI_BASE_URL: openai.openaiUrl }))[0]).toBe(
      "trouble provider openai: openai has no list of models at that address",
    );
  });

  it("a key server is not there", async () => {
    const JWT_JWKS_URL = `http://127.0.0.1:${await freePort()}/keys.json`;
    expect(troubles(await doctor({ JWT_JWKS_URL }))).toEqual([
      expect.stringMatching(/^trouble key server: .*ECONNREFUSED/),
    ]);
  });

  it.each<[string, KeyAnswer, string]>([
    ["fails", saying(500, "{}"), "The key server answered 500."],
    ["answers with something else", saying(200, "<html>"), "The key server's answer is no set of keys."],
    ["has no key", [], "reachable, has 0 keys"],
    ["is silent", silent, "request timed out"],
  ])("a key server %s", async (_, answer, detail) => {
    const server = await startKeyServer(answer);
    const said = troubles(await doctor({ JWT_JWKS_URL: server.url }));
    await server.close();
    expect(said).toEqual([expect.stringContaining(`trouble key server: ${detail}`)]);
  });

  it("a provider is silent", async () => {
    openai.list("nothing");
    expect(troubles(await doctor(atOpenAI()))[0]).toMatch(/^trouble provider openai: /);
  });

  it("a provider fails", async () => {
    openai.list("failure");
    expect(troubles(await doctor(atOpenAI()))[0]).toBe("trouble provider openai: openai is overloaded. (HTTP 500)");
  });

  it("a provider refuses the key", async () => {
    openai.list(401);
    expect(troubles(await doctor(atOpenAI()))[0]).toBe(
      "trouble provider openai: openai refused the service's credentials. (HTTP 401)",
    );
  });

  it("a model is not known where it is looked for", async () => {
    openai.list(["gpt-6-luna"]);
    expect(troubles(await doctor(atOpenAI()))).toEqual([
      "trouble model smart: openai/gpt-6-sol: its provider does not know it",
    ]);
  });

  it("a model has been switched off", async () => {
    openai.list([
      { id: "gpt-6-luna", shutdown_date: null },
      { id: "gpt-6-sol", shutdown_date: "2026-01-31" },
    ]);
    expect(troubles(await doctor(atOpenAI()))).toEqual([
      "trouble model smart: openai/gpt-6-sol: known, switched off on 2026-01-31",
    ]);
  });

  it("an alias names a provider without a key", async () => {
    const MODELS = "fast=groq/openai/gpt-oss-20b;balanced=openai/gpt-6-luna;smart=openai/gpt-6-sol";
    expect(troubles(await doctor({ ...atOpenAI(), MODELS }))).toEqual([
      "trouble model fast: groq/openai/gpt-oss-20b: no key for its provider",
    ]);
  });

  it("a server of one's own lists no model", async () => {
    openai.list([]);
    expect(troubles(await doctor({ OPENAI_BASE_URL: openai.openaiUrl }))).toContain(
      "trouble model balanced: openai/*: its provider does not know it",
    );
  });

  it("RunPod has no worker that could take a job", async () => {
    runpod.staff({ throttled: 1, unhealthy: 1 });
    expect(troubles(await doctor(atRunpod()))).toEqual([
      expect.stringMatching(/^trouble provider runpod: workers: .*1 throttled, 1 unhealthy; .*would wait for ever$/),
    ]);
  });

  it("RunPod refuses the key, or does not know the endpoint", async () => {
    expect(troubles(await doctor({ ...atRunpod(), RUNPOD_API_KEY: "another" }))).toEqual([
      "trouble provider runpod: runpod refused the service's credentials. (HTTP 401)",
    ]);
    expect(troubles(await doctor({ ...atRunpod(), RUNPOD_ENDPOINT_ID: "another" }))).toEqual([
      expect.stringMatching(/^trouble provider runpod: .*\(HTTP 404\)$/),
    ]);
  });

  it("the database's file is none", async () => {
    writeFileSync(join(folder, "parley.db"), "This is a letter, not a database. ".repeat(200));
    expect(troubles(await doctor())).toEqual([`${trouble()}file is not a database`]);
  });

  it("the database is another application's", async () => {
    new Database(join(folder, "parley.db")).exec("create table mine (a)").close();
    expect(troubles(await doctor())).toEqual([
      `${trouble()}is not a database of Parley: it has the table mine of another application; it is left as it is`,
    ]);
  });

  it.each(["delete", "wal"])("somebody else writes to the database's file (journal %s)", async (journal) => {
    const path = join(folder, "parley.db");
    await (await startApp({ DATABASE_URL: path })).stop();
    const other = new Database(path);
    onTestFinished(() => void other.close());
    other.pragma(`journal_mode = ${journal}`);
    other.exec("begin exclusive");
    const said = troubles(await doctor());
    expect(said).toEqual([`${trouble()}database is locked`]);
    const { code, out, error } = await runCommand("node", ["serve"], { env: { PORT: "0" }, cwd: folder });
    expect([code, out, error]).toEqual([1, "", "DATABASE_URL: database is locked\n"]);
  });

  const trouble = () => `trouble database (sqlite): ${join(realpathSync(folder), "parley.db")}: `;

  it.runIf(canBeNobody)("the database's file cannot be written", async () => {
    const path = join(folder, "parley.db");
    writeFileSync(path, "");
    chmodSync(path, 0o444);
    const { code, out } = await runCommand("node", ["doctor"], { env: {}, cwd: folder, by: AS_NOBODY });
    expect(troubles({ code, lines: out.split("\n") })).toEqual([
      expect.stringMatching(/^trouble database \(sqlite\): \S+: EACCES: .*parley\.db/),
    ]);
  });

  it("Postgres is not there, or refuses the password, which is not shown", async () => {
    const port = await freePort();
    const away = `postgres://parley:${SECRETS.database}@127.0.0.1:${port}/parley`;
    expect(troubles(await doctor({ DATABASE_URL: away }))).toEqual([
      expect.stringMatching(/^trouble database \(postgres\): .*ECONNREFUSED/),
    ]);
    const url = new URL(await freshPostgres());
    url.password = SECRETS.database;
    expect(troubles(await doctor({ DATABASE_URL: url.href }))).toEqual([
      expect.stringMatching(/^trouble database \(postgres\): .*password authentication failed/),
    ]);
  });
});

describe("a doctor asked about Stream Chat", () => {
  it("says nothing of it where none is set, else whether it is there and takes the key and the secret", async () => {
    const fake = await startStream();
    onTestFinished(() => fake.close());
    expect((await doctor()).lines.join("\n")).not.toContain("stream chat");
    const { code, lines } = await doctor(fake.env);
    expect(code).toBe(0);
    expect(lines).toContain("ok      stream chat: reachable, takes the key and the secret");
    expect(troubles(await doctor({ ...fake.env, STREAM_SECRET: SECRETS.database }))).toEqual([
      "trouble stream chat: does not take the key, the secret, or the time of this machine (HTTP 401)",
    ]);
    await fake.down();
    expect(troubles(await doctor(fake.env))).toEqual(["trouble stream chat: is away"]);
  });
});

describe("a doctor asked about Redis", () => {
  it("says nothing of it where none is set, and of one that is not there that it is not", async () => {
    expect((await doctor()).lines.join("\n")).not.toContain("redis");
    const REDIS_URL = `redis://:${SECRETS.database}@127.0.0.1:${await freePort()}/0`;
    expect(troubles(await doctor({ REDIS_URL }))).toEqual([expect.stringMatching(/^trouble redis: .*ECONNREFUSED/)]);
  });

  it("does not show the password of an address that is none", async () => {
    expect(troubles(await doctor({ REDIS_URL: `redis://:${SECRETS.database}@localhost/cache` }))).toEqual([
      expect.stringMatching(/^trouble configuration: REDIS_URL: must be a redis:\/\/ or rediss:\/\/ URL/),
    ]);
  });
});

describeRedis("a doctor who is given a Redis", () => {
  let server: RedisServer;
  beforeAll(async () => {
    server = await startRedis("--requirepass", SECRETS.database);
  });
  afterAll(() => server?.kill());
  const at = (password: string) => ({ REDIS_URL: server.url.replace("//", `//:${password}@`) });

  it("says that it is reachable, or what it refuses, without the password", async () => {
    const { code, lines } = await doctor(at(SECRETS.database));
    expect(code).toBe(0);
    expect(lines[1]).toBe("ok      redis: reachable");
    expect(troubles(await doctor(at(`not-${SECRETS.database}`)))).toEqual([
      expect.stringMatching(/^trouble redis: WRONGPASS/),
    ]);
    expect(troubles(await doctor({ REDIS_URL: server.url }))).toEqual([
      expect.stringMatching(/^trouble redis: NOAUTH/),
    ]);
  });
});

describe("a doctor changes nothing", () => {
  it("makes no SQLite file where there is none", async () => {
    expect((await doctor()).code).toBe(0);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("applies no migration to an empty database, and tells how many the next start applies", async () => {
    const path = join(folder, "parley.db");
    new Database(path).pragma("user_version = 1");
    const before = contents();
    expect((await doctor()).lines).toContainEqual(
      expect.stringMatching(
        /^ok {6}database \(sqlite\): \S+ is reachable, 0 migrations applied, the next start applies [1-9]/,
      ),
    );
    expect(contents()).toEqual(before);

    const url = await freshPostgres();
    const { lines } = await doctor({ DATABASE_URL: url });
    expect(lines[0]).toMatch(
      /^ok {6}database \(postgres\): \S+ is reachable, 0 migrations applied, the next start applies [1-9]/,
    );
    expect(await schemasOf(url)).toEqual([]);
  });

  it("leaves the files of a database that was used as they are", async () => {
    const url = `sqlite:///${join(folder, "parley.db")}`;
    await (await startApp({ DATABASE_URL: url })).stop();
    const before = contents();
    expect((await doctor({ DATABASE_URL: url })).lines[0]).toMatch(/migrations applied, up to date$/);
    expect(contents()).toEqual(before);
  });

  /** Every file of the folder, with a digest of what is in it. */
  function contents(): [string, string][] {
    return readdirSync(folder)
      .toSorted()
      .map((name) => [
        name,
        createHash("sha256")
          .update(readFileSync(join(folder, name)))
          .digest("hex"),
      ]);
  }
});

describe.each(databases)("on $database a doctor", ({ database, fresh }) => {
  it("finds a database up to date that a start has migrated, also while it is in use", async () => {
    const url = await fresh();
    const app = await startApp({ DATABASE_URL: url });
    const { code, lines } = await doctor({ DATABASE_URL: url });
    await app.stop();
    expect(code).toBe(0);
    const rest =
      database === "SQLite" ? "; it is served by another process now, beside which no second one may start" : "";
    expect(lines[0]).toMatch(
      new RegExp(
        `^(ok {6}|warn {4})database \\(\\w+\\): \\S+ is reachable, [1-9]\\d* migrations applied, up to date${rest}$`,
      ),
    );
  });

  it("finds trouble in a database that is newer than the service", async () => {
    const url = await fresh();
    await (await startApp({ DATABASE_URL: url })).stop();
    await apply(database, url);
    expect(troubles(await doctor({ DATABASE_URL: url }))[0]).toMatch(
      /^trouble database \(\w+\): \S+: the database is newer than this Parley: 1 of its migrations/,
    );
  });
});

/** A migration of tomorrow. */
async function apply(database: "SQLite" | "Postgres", url: string): Promise<void> {
  const values = "(hash, created_at) values ('of tomorrow', 4102444800000)";
  if (database === "SQLite") {
    new Database(url.slice("sqlite:///".length)).exec(`insert into __drizzle_migrations ${values}`).close();
    return;
  }
  const client = postgres(url, { max: 1 });
  await client.unsafe(`insert into parley_migrations ${values}`);
  await client.end();
}

async function schemasOf(url: string): Promise<unknown[]> {
  const client = postgres(url, { max: 1 });
  const found =
    await client`select table_name from information_schema.tables where table_schema not in ('pg_catalog', 'information_schema')`;
  await client.end();
  return [...found];
}
