import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, existsSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { startApp } from "../support/app.ts";
import { open } from "../support/databases.ts";
import { closing } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connect, connectPlainly } from "../support/db-sqlite.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder } from "../support/models-launch.ts";
import { commandOf, type Runtime } from "../support/service.ts";

async function start(
  runtime: Runtime,
  cwd: string,
  args: string[],
  env: Record<string, string> = {},
): Promise<ChildProcess> {
  const [command, program] = await commandOf(runtime);
  return spawn(command, [...program, "backup", ...args], { cwd, env: { PATH: process.env["PATH"], ...env } });
}

async function run(...given: Parameters<typeof start>) {
  const child = await start(...given);
  let [out, error] = ["", ""];
  child.stdout?.on("data", (text) => (out += text));
  child.stderr?.on("data", (text) => (error += text));
  const [code] = await once(child, "close");
  return { code, out, error };
}

/** So many megabytes of a table of the test's own. */
function fillWith(path: string, megabytes: number): void {
  const client = connect(path);
  client.exec(`create table ballast (bytes blob); insert into ballast
    with recursive n(i) as (select 1 union all select i + 1 from n where i < ${megabytes}) select randomblob(1000000) from n`);
}

describe.each([...runtimes, "binary"] as const)("parley backup, on %s,", (runtime) => {
  it("writes all that a service has acknowledged, while it runs, for no other eyes than the original's", async () => {
    const folder = freshFolder();
    const app = await startApp({ DATABASE_URL: join(folder, "parley.db") });
    onTestFinished(() => app.stop());
    const { conversation_id } = (await app.call("POST", "/api/chat/send", { message: "Keep this." })).json;
    chmodSync(join(folder, "parley.db"), 0o400); // root may write it, and others may where they only read
    expect(await run(runtime, folder, ["copy.db"])).toEqual({ code: 0, out: "copy.db\n", error: "" });
    expect(statSync(join(folder, "copy.db")).mode & 0o777).toBe(0o600);
    expect(readdirSync(folder).filter((name) => name.startsWith("copy"))).toEqual(["copy.db"]);

    const restored = await startApp({ DATABASE_URL: join(folder, "copy.db") });
    onTestFinished(() => restored.stop());
    const path = `/chats/${conversation_id}/messages`;
    expect((await restored.call("GET", path)).json).toEqual((await app.call("GET", path)).json);
    expect((await restored.call("POST", "/chat", { chat_id: conversation_id, message: "And?" })).status).toBe(200);
  });

  it("gives one name to one of two that write it at once; the other says so", async () => {
    const path = join(freshFolder(), "parley.db");
    fillWith(path, 20);
    const both = await Promise.all([1, 2].map(() => run(runtime, dirname(path), ["copy.db"], { DATABASE_URL: path })));
    expect(both.map(({ code }) => code).sort()).toEqual([0, 1]);
    expect(both.map(({ error }) => error).join("")).toMatch(/^copy\.db is there already/);
    expect(readdirSync(dirname(path)).filter((name) => name.startsWith("copy"))).toEqual(["copy.db"]);
  });

  it("holds one moment of a database that is written to all the while", async () => {
    const path = join(freshFolder(), "parley.db");
    const db = closing(await open(path));
    fillWith(path, 20);
    const { put, read } = marksOf();
    const pair = () => db.batch([put(nextId()), put(nextId())]);
    await pair();
    const child = await start(runtime, dirname(path), ["copy.db"], { DATABASE_URL: path });
    const ended = once(child, "close");
    while (child.exitCode === null) await pair();
    expect(await ended).toEqual([0, null]);
    const copy = join(dirname(path), "copy.db");
    expect(connectPlainly(copy).pragma("integrity_check", { simple: true })).toBe("ok");
    const [before, after] = [await read(closing(await open(copy))), await read(db)];
    expect(before.length % 2).toBe(0);
    expect(after.slice(0, before.length)).toEqual(before);
    expect(after.length).toBeGreaterThan(before.length);
  });

  it("that is killed leaves nothing under the name, and the next one writes it", async () => {
    const path = join(freshFolder(), "parley.db");
    fillWith(path, 40);
    const child = await start(runtime, dirname(path), ["copy.db"], { DATABASE_URL: path });
    const part = () => readdirSync(dirname(path)).find((name) => name.endsWith(".part"));
    await expect.poll(part, { interval: 1 }).toBeDefined();
    child.kill("SIGKILL");
    await once(child, "close");
    expect([existsSync(join(dirname(path), "copy.db")), part()]).toEqual([false, expect.stringMatching(/^copy\.db\./)]);
    expect((await run(runtime, dirname(path), ["copy.db"], { DATABASE_URL: path })).code).toBe(0);
    expect(new Database(join(dirname(path), "copy.db")).prepare("select count(*) from ballast").pluck().get()).toBe(40);
  });
});

describe("parley backup", () => {
  const elsewhere = { DATABASE_URL: "postgres://ann:hunter2@localhost/parley" };
  it.each<{ what: string; args: string[]; env?: Record<string, string>; says: RegExp }>([
    { what: "a file that is there", args: ["taken.db"], says: /^taken\.db is there already/ },
    { what: "the database itself", args: ["parley.db"], says: /^parley\.db is there already/ },
    { what: "no file", args: [], says: /^FILE: / },
    { what: "two files", args: ["a.db", "b.db"], says: /^FILE: / },
    { what: "a folder that is not there", args: ["nowhere/a.db"], says: /^the folder nowhere does not exist$/ },
    { what: "a folder that is a file", args: ["taken.db/a.db"], says: /^the folder taken\.db is no folder$/ },
    {
      what: "no database",
      args: ["a.db"],
      env: { DATABASE_URL: "gone.db" },
      says: /^there is no database at gone\.db/,
    },
    { what: "a database in memory", args: ["a.db"], env: { DATABASE_URL: ":memory:" }, says: /in memory/ },
    {
      what: "an address that is none",
      args: ["a.db"],
      env: { DATABASE_URL: "mysql://x" },
      says: /^DATABASE_URL: begins with none of .* or postgres:\/\/user:password@host\/name$/,
    },
    { what: "a file that is no database", args: ["a.db"], env: { DATABASE_URL: "taken.db" }, says: /not a database/ },
    { what: "Postgres", args: ["a.db"], env: elsewhere, says: /^Postgres .*pg_dump/ },
  ])("with $what prints one line and how it is used, writes nothing and ends with 1", async ({ args, env, says }) => {
    const folder = freshFolder();
    for (const name of ["taken.db", "parley.db"])
      writeFileSync(join(folder, name), "Somebody's work of a long, long day.");
    const { code, out, error } = await run("node", folder, args, env);
    expect([code, out]).toEqual([1, ""]);
    const lines = [expect.stringMatching(says), expect.stringMatching(/^parley backup FILE/)];
    expect(error.trimEnd().split("\n")).toEqual(lines);
    expect(error).not.toContain("hunter2");
    expect(readdirSync(folder).sort()).toEqual(["parley.db", "taken.db"]);
    expect(readFileSync(join(folder, "taken.db"), "utf8")).toBe("Somebody's work of a long, long day.");
  });
});
