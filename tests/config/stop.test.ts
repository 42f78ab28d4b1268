import { spawn } from "node:child_process";
import { existsSync, openSync } from "node:fs";
import { Agent, get } from "node:http";
import { describe, expect, it, onTestFinished } from "vitest";
import { freePort } from "../support/global.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, type Launched, launchIn } from "../support/models-launch.ts";
import { commandOf } from "../support/service.ts";

/** Where nothing can be written. */
const FULL = "/dev/full";

const messagesOf = ({ lines }: Launched) => lines.map((line) => JSON.parse(line).msg);

describe.each(runtimes)("on %s, a service with nothing to do", (runtime) => {
  async function ready(env: Record<string, string> = {}): Promise<Launched> {
    const service = await launchIn(freshFolder(), runtime, env);
    expect((await service.call("/health/ready")).status).toBe(200);
    return service;
  }

  it.each(["SIGTERM", "SIGINT"] as const)("ends with 0 at %s, and says so", async (signal) => {
    const service = await ready();
    service.signal(signal);
    await expect.poll(service.exitCode).toBe(0);
    await expect.poll(() => messagesOf(service)).toEqual(expect.arrayContaining(["stopping", "stopped"]));
  });

  it("does so too where connections of clients are kept open", async () => {
    const service = await ready();
    const calls = await Promise.all(Array.from({ length: 5 }, () => service.call("/health")));
    await Promise.all(calls.map((call) => call.text())); // read to the end: the client keeps these connections
    service.signal("SIGTERM");
    await expect.poll(service.exitCode).toBe(0);
  });

  it("does so too after it has answered, and when it is asked twice at once", async () => {
    const service = await ready();
    await (await service.call("/api/chat/send", { message: "Hi" })).text();
    service.signal("SIGINT");
    service.signal("SIGINT"); // a terminal under npm sends it twice
    await expect.poll(service.exitCode).toBe(0);
  });

  it("does so too if it is stopped as soon as it says that it listens", async () => {
    const services = await Promise.all(
      Array.from({ length: 6 }, async () => {
        const service = await launchIn(freshFolder(), runtime, {});
        service.signal("SIGTERM");
        return service;
      }),
    );
    for (const service of services) await expect.poll(service.exitCode).toBe(0);
  });

  it.each([
    { what: "whose disk is full", LOG_FORMAT: "json", out: () => (existsSync(FULL) ? openSync(FULL, "w") : "pipe") },
    { what: "whose reader is gone", LOG_FORMAT: "pretty", out: () => "pipe" },
  ] as const)("goes on, and ends with 0, under a log $what", async ({ LOG_FORMAT, out }) => {
    const PORT = String(await freePort());
    const [command, args] = await commandOf(runtime);
    const env = { PATH: process.env["PATH"], PORT, LOG_FORMAT, DRAIN_NOTICE_MS: "0" };
    const child = spawn(command, args, { cwd: freshFolder(), env, stdio: ["ignore", out(), "ignore"] });
    onTestFinished(() => void child.kill("SIGKILL"));
    child.stdout?.destroy();
    const asked = async () => (await fetch(`http://127.0.0.1:${PORT}/health/live`)).status;
    await expect.poll(asked).toBe(200);
    for (let i = 0; i < 3; i++) expect(await asked()).toBe(200); // each is a line
    child.kill("SIGTERM");
    await expect.poll(() => child.exitCode).toBe(0);
  });

  it("loses no line of its log when it ends, however slowly the log is read", async () => {
    const service = await ready({ LOG_LEVEL: "debug" }); // at which checks of health are lines
    service.read(false);
    const padding = "r".repeat(200); // many long lines, so that they no longer fit into the pipe
    const asked = Array.from({ length: 1_500 }, (_, n) => `${padding}-${n}`);
    for (let n = 0; n < asked.length; n += 50) {
      const some = asked.slice(n, n + 50);
      await Promise.all(some.map((id) => service.call("/health/live", undefined, { "x-request-id": id })));
    }
    service.signal("SIGTERM");
    await expect
      .poll(() =>
        service.call("/health/live").then(
          () => "up",
          () => "down",
        ),
      )
      .toBe("down");
    service.read(true);
    await expect.poll(service.exitCode).toBe(0);
    await expect.poll(() => service.lines.at(-1)).toContain("stopped");
    const logged = new Set(service.lines.map((line) => JSON.parse(line).request_id));
    expect(asked.filter((id) => !logged.has(id))).toEqual([]);
  });

  it("is not ready for DRAIN_NOTICE_MS before it takes nobody new, and does all else meanwhile", async () => {
    const service = await launchIn(freshFolder(), runtime, { DRAIN_NOTICE_MS: "600000" });
    service.signal("SIGTERM");
    const readiness = async () => {
      const { status } = await service.call("/health/ready");
      return status;
    };
    await expect.poll(readiness).toBe(503);
    const kept = new Agent({ keepAlive: true, maxSockets: 1 });
    const onOneConnection = () =>
      new Promise<[number | undefined, boolean]>((resolve, reject) => {
        const asked = get(`${service.url}/health/ready`, { agent: kept }, (response) => {
          response.resume().on("end", () => resolve([response.statusCode, asked.reusedSocket]));
        });
        asked.on("error", reject);
      });
    const answers = [await onOneConnection(), await onOneConnection()];
    kept.destroy();
    expect(answers).toEqual([
      [503, false],
      [503, true],
    ]);
    expect(await (await service.call("/health/ready")).json()).toEqual({ status: "draining" });
    expect((await service.call("/api/chat/send", { message: "Hi" })).status).toBe(200);
  });
});
