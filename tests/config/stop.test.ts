import { describe, expect, it } from "vitest";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, type Launched, launchIn } from "../support/models-launch.ts";

const IN_TIME = { timeout: 5_000 };
/** Many processes or many requests on a busy machine. */
const BUSY = 60_000;

const messagesOf = ({ lines }: Launched) => lines.map((line) => JSON.parse(line).msg);

describe.each(runtimes)("on %s, a service with nothing to do", (runtime) => {
  async function ready(): Promise<Launched> {
    const service = await launchIn(freshFolder(), runtime, {});
    expect((await service.call("/health/ready")).status).toBe(200);
    return service;
  }

  it.each(["SIGTERM", "SIGINT"] as const)("ends with 0 within five seconds of %s, and says so", async (signal) => {
    const service = await ready();
    service.signal(signal);
    await expect.poll(service.exitCode, IN_TIME).toBe(0);
    await expect.poll(() => messagesOf(service)).toEqual(expect.arrayContaining(["stopping", "stopped"]));
  });

  it("does so too where connections of clients are kept open", async () => {
    const service = await ready();
    const calls = await Promise.all(Array.from({ length: 5 }, () => service.call("/health")));
    await Promise.all(calls.map((call) => call.text())); // read to the end: the client keeps these connections
    service.signal("SIGTERM");
    await expect.poll(service.exitCode, IN_TIME).toBe(0);
  });

  it("does so too after it has answered, and when it is asked twice at once", async () => {
    const service = await ready();
    await (await service.call("/api/chat/send", { message: "Hi" })).text();
    service.signal("SIGINT");
    service.signal("SIGINT"); // a terminal under npm sends it twice
    await expect.poll(service.exitCode, IN_TIME).toBe(0);
  });

  it(
    "does so too if it is stopped as soon as it says that it listens",
    async () => {
      const services = await Promise.all(
        Array.from({ length: 6 }, async () => {
          const service = await launchIn(freshFolder(), runtime, {});
          service.signal("SIGTERM");
          return service;
        }),
      );
      for (const service of services) await expect.poll(service.exitCode, { timeout: 10_000 }).toBe(0);
    },
    BUSY,
  );

  it(
    "loses no line of its log when it ends, however slowly the log is read",
    async () => {
      const service = await ready();
      service.read(false);
      const padding = "r".repeat(200); // many long lines, so that they no longer fit into the pipe
      const asked = Array.from({ length: 1_500 }, (_, n) => `${padding}-${n}`);
      for (let n = 0; n < asked.length; n += 50) {
        const some = asked.slice(n, n + 50);
        await Promise.all(some.map((id) => service.call("/health/live", undefined, { "x-request-id": id })));
      }
      service.signal("SIGTERM");
      await expect
        .poll(
          () =>
            service.call("/health/live").then(
              () => "up",
              () => "down",
            ),
          IN_TIME,
        )
        .toBe("down");
      service.read(true);
      await expect.poll(service.exitCode, IN_TIME).toBe(0);
      await expect.poll(() => service.lines.at(-1)).toContain("stopped");
      const logged = new Set(service.lines.map((line) => JSON.parse(line).request_id));
      expect(asked.filter((id) => !logged.has(id))).toEqual([]);
    },
    BUSY,
  );
});
