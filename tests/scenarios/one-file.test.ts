import { spawnSync } from "node:child_process";
import { copyFileSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
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

  const ways: Record<string, (file: string) => void> = {
    deleted: (file) => rmSync(file),
    "replaced by another": (file) => {
      copyFileSync(file, `${file}.other`);
      renameSync(`${file}.other`, file);
    },
    "overwritten by a restore": (file) => {
      for (const end of ["-wal", "-shm"]) rmSync(`${file}${end}`);
      writeFileSync(file, readFileSync(`${file}.backup`)); // as cp does: into the file that is there
    },
  };

  it.each(Object.keys(ways))(
    "that is %s under the service is written no more, and the service says so",
    async (way) => {
      const file = join(freshFolder(), "parley.db");
      const service = await serviceOn(runtime, file);
      const { conversation_id } = (await send(service)).json;
      await runCommand(runtime, ["backup", `${file}.backup`], { env: { DATABASE_URL: file } });
      ways[way]?.(file);
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
      expect((await service.call("GET", `/chats/${conversation_id}`)).status).toBe(200);
      await expect
        .poll(() => service.logged.join("\n"), PATIENT)
        .toMatch(/"level":"error".*deleted or replaced .* start it again/);
      const before = existsSync(file) ? readFileSync(file) : null;
      expect(await service.end("SIGTERM")).toBe(0);
      expect(existsSync(file) ? readFileSync(file) : null).toEqual(before); // it leaves alone what stands there now
    },
  );

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
