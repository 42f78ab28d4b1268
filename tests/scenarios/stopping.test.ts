import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, statSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import Database from "better-sqlite3";
import { describe, it } from "vitest";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest, serviceForTest } from "../support/http-worlds.ts";
import { freshFolder } from "../support/models-launch.ts";
import { openRaw, statusesOf } from "../support/raw.ts";
import { commandOf, type Service, startService } from "../support/service.ts";

const BODY = '{"message":"Hi","stream":true}';
const POST = "POST /api/chat/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const ASK = `${POST}Content-Length: ${BODY.length}\r\n\r\n${BODY}`;
/** Runs a command as the first process of its own space, as a container does. */
const AS_ONE = ["unshare", "--user", "--map-root-user", "--pid", "--fork", "--kill-child", "--mount-proc"];
const canBeOne = spawnSync("unshare", [...AS_ONE.slice(1), "true"]).status === 0;
if (!canBeOne) console.warn("SKIPPED: no unshare on this machine, so nothing is tried as process 1");
const signalInside = (pid: number) =>
  process.kill(Number(readFileSync(`/proc/${pid}/task/${pid}/children`, "latin1")), "SIGTERM");

const saysIt = ({ logged }: Service, what: string) => logged.some((line) => line.includes(`"msg":"${what}"`));

describe.concurrent.each(["node", "bun", "binary"] as const)("%s, told to stop,", (runtime) => {
  it("is ready no more, takes nobody new, marks a turn that has no time left, and leaves its file whole", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    provider.behave(() => ({ text: ["half"], afterwards: "stall" }));
    const file = join(freshFolder(), "parley.db");
    const service = await serviceForTest(test, { runtime, url: file, provider, env: { DRAIN_TIMEOUT_S: "2" } });
    const asked = openRaw(service.url, "GET /health/ready HTTP/1.1\r\nHost: localhost\r\n"); // it is still to be ended
    await once(asked.socket, "connect");
    const heard = openRaw(service.url, ASK); // who is answered behind it proves that it was taken up
    await expect.poll(heard.text, PATIENT).toContain("half");
    const reader = new Database(file, { readonly: true }); // with it open, a close alone leaves the log
    reader.prepare("select 1 from turns").get();

    const ended = service.end("SIGTERM");
    await expect.poll(() => saysIt(service, "stopping"), PATIENT).toBe(true);
    await expect.poll(() => fetch(service.url).then(String, () => "refused")).toBe("refused");
    asked.socket.write("\r\n");
    const answered = await asked.over;
    expect(statusesOf(answered)).toEqual([503]);
    expect(answered).toContain('{"status":"draining"}');
    expect(await heard.over).toContain("event: turn.failed");
    expect(await ended).toBe(0);

    expect(statSync(`${file}-wal`).size).toBe(0);
    const left = reader.prepare("select t.status, m.content from turns t join messages m on m.id = t.message_id").all();
    expect(left).toEqual([{ status: "incomplete", content: "half" }]);
    reader.close();
  });

  it("ends at once when it is told again", async (test) => {
    const { expect } = test;
    const provider = await providerForTest(test);
    provider.behave(() => ({ text: ["half"], afterwards: "stall" }));
    const busy = async () => {
      const service = await serviceForTest(test, {
        runtime,
        url: ":memory:",
        provider,
        env: { DRAIN_TIMEOUT_S: "3600" },
      });
      await expect.poll(openRaw(service.url, ASK).text, PATIENT).toContain("half");
      return service;
    };
    const otherwise = await busy();
    void otherwise.end("SIGTERM");
    await expect.poll(() => saysIt(otherwise, "stopping"), PATIENT).toBe(true);
    expect(await otherwise.end("SIGINT")).toBe(1);

    const twice = await busy();
    let code: number | null = null;
    const tell = () => {
      void twice.end("SIGTERM").then((ended) => (code = ended));
      return code; // a signal that comes again within half a second is the same one
    };
    await expect.poll(tell, { ...PATIENT, interval: 100 }).toBe(1);
  });

  it.runIf(canBeOne)("ends as process 1 too, whose signals nobody else heeds, also while it starts", async (test) => {
    const { expect } = test;
    const service = await startService(runtime, { DATABASE_URL: ":memory:" }, AS_ONE);
    test.onTestFinished(async () => void (await service.end("SIGKILL")));
    signalInside(service.pid);
    await expect.poll(() => saysIt(service, "stopped"), PATIENT).toBe(true);
    expect(await service.end()).toBe(0);

    const silent = createServer().listen(0, "127.0.0.1"); // no Postgres: a start waits ten seconds for it
    await once(silent, "listening");
    const { port } = silent.address() as { port: number };
    const [command = "", ...args] = [...AS_ONE, ...(await commandOf(runtime)).flat()];
    const env = { PATH: process.env["PATH"], DATABASE_URL: `postgres://127.0.0.1:${port}/a` };
    const starting = spawn(command, args, { env, stdio: "ignore" });
    test.onTestFinished(() => {
      starting.kill("SIGKILL");
      silent.close();
    });
    await once(silent, "connection");
    const ended = once(starting, "exit");
    signalInside(starting.pid ?? 0);
    expect(await ended).toEqual([0, null]); // 1, had it waited in vain
  });
});
