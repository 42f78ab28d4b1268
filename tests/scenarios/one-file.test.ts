import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  linkSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { freshFolder } from "../support/models-launch.ts";
import { type Runtime, runCommand, runToEnd, type Service, startService } from "../support/service.ts";

const PATIENT = { timeout: 15_000, interval: 50 };

/** The service on a file, in a folder of its own; gone when the test is over. */
async function serviceOn(runtime: Runtime, file: string): Promise<Service> {
  const service = await startService(runtime, { DATABASE_URL: file });
  onTestFinished(async () => void (await service.end("SIGKILL")));
  return service;
}

const send = (service: Service, message = "Keep this.") => service.call("POST", "/api/chat/send", { message });
const ready = async (service: Service) => (await service.call("GET", "/health/ready")).json;

describe.each(["node", "bun", "binary"] as const)("on %s a SQLite file", { timeout: 60_000 }, (runtime) => {
  it("is served by one process: a second one ends with a sentence that names it, and the first goes on", async () => {
    const file = join(freshFolder(), "parley.db");
    const first = await serviceOn(runtime, file);
    const { code, output } = await runToEnd(runtime, { DATABASE_URL: file, PORT: "0" });
    expect([code, output]).toEqual([
      1,
      expect.stringMatching(/^DATABASE_URL: another process serves \S+parley\.db already; stop it first/),
    ]);
    expect((await send(first)).status).toBe(200);
    for (const args of [["migrate"], ["doctor"], ["backup", `${file}.copy`]]) {
      expect((await runCommand(runtime, args, { env: { DATABASE_URL: file } })).code, args.join(" ")).toBe(0);
    }
  });

  it("is free again as soon as its process was killed", async () => {
    const file = join(freshFolder(), "parley.db");
    await (await serviceOn(runtime, file)).end("SIGKILL");
    expect((await send(await serviceOn(runtime, file))).status).toBe(200);
  });

  type Way = { put(file: string): void; isRead: boolean };
  const backupOf = (file: string) => readFileSync(`${file}.backup`);
  const ways: Record<string, Way> = {
    deleted: { put: (file) => rmSync(file), isRead: true },
    "replaced by a restore": {
      put(file) {
        copyFileSync(`${file}.backup`, `${file}.new`);
        renameSync(`${file}.new`, file);
      },
      isRead: true,
    },
    "overwritten by a restore, as cp does it": { put: (file) => writeFileSync(file, backupOf(file)), isRead: false },
    "overwritten by a restore without the old log": {
      put(file) {
        for (const end of ["-wal", "-shm"]) rmSync(`${file}${end}`);
        writeFileSync(file, backupOf(file));
      },
      isRead: false,
    },
  };

  it.each(Object.keys(ways))(
    "that is %s under the service is written no more, and is what the next serves",
    async (way) => {
      const file = join(freshFolder(), "parley.db");
      const service = await serviceOn(runtime, file);
      const { conversation_id } = (await send(service)).json;
      await runCommand(runtime, ["backup", `${file}.backup`], { env: { DATABASE_URL: file } });
      for (let i = 0; i < 10; i++) await send(service, `After the backup, ${i}.`);
      const { put, isRead } = ways[way] as Way;
      put(file);
      const refused = await send(service, "This would be lost.");
      expect([refused.status, refused.json.code, refused.headers.get("retry-after")]).toEqual([
        503,
        "storage_unavailable",
        "5",
      ]);
      const renamed = await service.call("PATCH", `/chats/${conversation_id}`, { title: "This too" });
      expect([renamed.status, renamed.json.code]).toEqual([503, "storage_unavailable"]);
      expect(await ready(service)).toEqual({ status: "unhealthy" });
      expect((await service.call("GET", "/health")).json).toMatchObject({
        checks: { database: { status: "unhealthy" } },
      });
      expect((await service.call("GET", `/chats/${conversation_id}`)).status).toBe(isRead ? 200 : 503);
      await expect
        .poll(() => service.logged.join("\n"), PATIENT)
        .toMatch(/"level":"error".*(deleted or replaced|written over) .* start it again/);
      const before = existsSync(file) ? readFileSync(file) : null;
      expect(await service.end("SIGTERM")).toBe(0);
      expect(existsSync(file) ? readFileSync(file) : null).toEqual(before); // it leaves alone what stands there now
      const aside = readdirSync(dirname(file)).filter((name) => name.startsWith("parley.db-"));
      expect(aside).toEqual(way.endsWith("old log") ? [] : ["parley.db-wal.put-aside"]);

      const next = await serviceOn(runtime, file);
      const { chats } = (await next.call("GET", "/chats")).json;
      expect(chats.map(({ id }: { id: string }) => id)).toEqual(way === "deleted" ? [] : [conversation_id]);
      expect((await send(next)).status).toBe(200);
    },
  );

  it("that other programs write as SQLite does is written on", async () => {
    const file = join(freshFolder(), "parley.db");
    const service = await serviceOn(runtime, file);
    await send(service);
    const other = new Database(file);
    for (const mode of ["passive", "full", "restart", "truncate"]) {
      other.exec("create table other (bytes blob); insert into other values (randomblob(5000000)); drop table other");
      other.pragma(`wal_checkpoint(${mode})`);
      expect((await send(service)).status, mode).toBe(200);
    }
    other.close();
    expect(await ready(service)).toEqual({ status: "ready" });
  });

  it("that was spoilt is named by the start, and what to do", async () => {
    const file = join(freshFolder(), "parley.db");
    const service = await serviceOn(runtime, file);
    await service.end("SIGTERM");
    const bytes = readFileSync(file);
    writeFileSync(file, bytes.fill("spoilt", 4096));
    const { code, output } = await runToEnd(runtime, { DATABASE_URL: file, PORT: "0" });
    expect([code, output]).toEqual([
      1,
      expect.stringMatching(
        /^DATABASE_URL: \S+parley\.db is damaged \(.*malformed\): take it and .* put a backup in its place/,
      ),
    ]);
  });

  it("is served under one name only: a hard link to it is refused", async () => {
    const file = join(freshFolder(), "parley.db");
    const first = await serviceOn(runtime, file);
    linkSync(file, `${file}.link`);
    const { code, output } = await runToEnd(runtime, { DATABASE_URL: `${file}.link`, PORT: "0" });
    expect([code, output]).toEqual([
      1,
      expect.stringMatching(/^DATABASE_URL: \S+link has a second name \(a hard link\)/),
    ]);
    expect((await send(first)).status).toBe(200);
  });

  it("whose lock was deleted is served by one process all the same", async () => {
    const file = join(freshFolder(), "parley.db");
    const first = await serviceOn(runtime, file);
    rmSync(`${file}.lock`);
    const env = { DATABASE_URL: file, PORT: "0" };
    expect(await runToEnd(runtime, env)).toEqual({
      code: 1,
      output: expect.stringMatching(
        /^DATABASE_URL: \S+parley\.db is open in another process, and its lock was deleted/,
      ),
    });
    expect((await send(first)).status).toBe(200); // and takes the lock anew
    expect((await runToEnd(runtime, env)).output).toMatch(/^DATABASE_URL: another process serves/);
  });

  it("whose lock another process has taken meanwhile is written no more until that ends", async () => {
    const file = join(freshFolder(), "parley.db");
    const service = await serviceOn(runtime, file);
    renameSync(`${file}.lock`, `${file}.lock-of-before`);
    const other = new Database(`${file}.lock`);
    other.exec("begin exclusive");
    expect(await ready(service)).toEqual({ status: "unhealthy" });
    expect((await send(service)).status).toBe(503);
    await expect
      .poll(() => service.logged.join("\n"), PATIENT)
      .toMatch(/"level":"error".*lock beside the database file was deleted/);
    other.close();
    expect((await send(service)).status).toBe(200);
  });

  it("that is moved aside and back is written again", async () => {
    const file = join(freshFolder(), "parley.db");
    const service = await serviceOn(runtime, file);
    renameSync(file, `${file}.aside`);
    await expect.poll(async () => (await send(service)).status, PATIENT).toBe(503);
    renameSync(`${file}.aside`, file);
    await expect.poll(async () => (await send(service)).status, PATIENT).toBe(200);
    await expect.poll(async () => (await ready(service)).status, PATIENT).toBe("ready");
  });
});

/** A file system of a few megabytes, which only root can make. */
function smallDisk(): string | null {
  const folder = join(freshFolder(), "disk");
  mkdirSync(folder);
  if (spawnSync("mount", ["-t", "tmpfs", "-o", "size=3m", "tmpfs", folder]).status !== 0) return null;
  onTestFinished(() => void spawnSync("umount", ["-l", folder]));
  return folder;
}

const canMount = spawnSync("unshare", ["--mount", "true"]).status === 0 && process.getuid?.() === 0;
if (!canMount) console.warn("SKIPPED: no file system can be mounted here, so no disk is filled");

describe.runIf(canMount).each(["node", "bun"] as const)("on %s a full disk", { timeout: 60_000 }, (runtime) => {
  it("turns readiness red, is a 503 with Retry-After, loses nothing, and heals by itself", async () => {
    const disk = smallDisk();
    if (disk === null) throw new Error("mounted in vain");
    const service = await serviceOn(runtime, join(disk, "parley.db"));
    const { conversation_id: id } = (await send(service, "Before.")).json;
    expect(await ready(service)).toEqual({ status: "ready" });
    const fill = spawnSync("dd", ["if=/dev/zero", `of=${disk}/ballast`, "bs=4k"]);
    expect(fill.status).not.toBe(0); // it wrote until there was no room

    const long = "x".repeat(100_000);
    const refusals = [];
    for (let i = 0; i < 20; i++)
      refusals.push(await service.call("POST", "/chats", { title: "t" }), await send(service, long));
    const refused = refusals.filter(({ status }) => status !== 200 && status !== 201);
    expect(refused.length).toBeGreaterThan(0);
    for (const { status, json, headers } of refused) {
      expect([status, json.code, headers.get("retry-after")]).toEqual([503, "storage_unavailable", "5"]);
    }
    await expect.poll(async () => (await ready(service)).status, PATIENT).toBe("unhealthy");
    expect((await service.call("GET", "/health")).status).toBe(503);
    expect((await service.call("GET", `/chats/${id}`)).status).toBe(200);

    for (const { status, json } of refusals.filter(({ status }) => status === 200)) {
      expect([status, (await service.call("GET", `/chats/${json.conversation_id}`)).status]).toEqual([200, 200]);
    }

    rmSync(`${disk}/ballast`);
    await expect.poll(async () => (await ready(service)).status, PATIENT).toBe("ready");
    expect((await send(service, "After.")).status).toBe(200);
  });
});
