import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, expect, it, onTestFinished } from "vitest";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder } from "../support/models-launch.ts";
import { runCommand, startService } from "../support/service.ts";

const POSTS = 100;
const timesIn = (file: string, word: string) => readFileSync(file, "latin1").split(word).length - 1;

describe.each([...runtimes, "binary"] as const)("parley vacuum, on %s,", { timeout: 60_000 }, (runtime) => {
  it("leaves nothing of what was deleted, and all else, once no service has the file", async () => {
    const file = join(freshFolder(), "parley.db");
    const env = { DATABASE_URL: file, RATE_LIMIT: "off" };
    const service = await startService(runtime, env);
    onTestFinished(async () => void (await service.end("SIGKILL")));
    for (let i = 0; i < POSTS; i++) {
      const message = `${i % 2 ? "quokka" : "wombat"} ${"x".repeat((i * 97) % 900)}`;
      await service.call("POST", "/api/chat/send", { message });
    }
    expect(await runCommand(runtime, ["vacuum"], { env })).toEqual({
      code: 1,
      out: "",
      error: expect.stringMatching(/^another process serves \S+parley\.db already; stop it first/),
    });
    await service.end("SIGTERM");

    const before = new Database(file); // as a version that did not overwrite what it deleted
    before.pragma("secure_delete = OFF");
    before.pragma("foreign_keys = OFF");
    before.exec("delete from messages where content like '%quokka%'");
    before.exec("delete from conversations where title like '%quokka%'");
    const left = before.prepare("select count(*) from messages").pluck().get();
    before.close();
    expect(timesIn(file, "quokka")).toBeGreaterThan(0);

    expect(await runCommand(runtime, ["vacuum"], { env })).toEqual({ code: 0, out: `${file}\n`, error: "" });
    expect([timesIn(file, "quokka"), existsSync(`${file}-wal`)]).toEqual([0, false]);
    const after = new Database(file);
    onTestFinished(() => void after.close());
    expect(after.prepare("select count(*) from messages").pluck().get()).toBe(left);
    expect(after.pragma("integrity_check", { simple: true })).toBe("ok");
  });

  it("says what it cannot do in one line", async () => {
    for (const [url, says] of [
      ["gone.db", /^there is no database at gone\.db\n$/],
      [":memory:", /^a database in memory .*\n$/],
      ["postgres://ann:hunter2@localhost/parley", /^Postgres has a command of its own: VACUUM \(FULL\)\n$/],
    ] as const) {
      const { code, error } = await runCommand(runtime, ["vacuum"], { env: { DATABASE_URL: url }, cwd: freshFolder() });
      expect([code, error]).toEqual([1, expect.stringMatching(says)]);
    }
  });
});
