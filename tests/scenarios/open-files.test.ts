import { readdirSync } from "node:fs";
import { connect, type Socket } from "node:net";
import { describe, expect, it, onTestFinished } from "vitest";
import { connectionsFor, mostOpenFiles } from "../../src/open-files.ts";
import { PATIENT } from "../support/http-expect.ts";
import { startProvider } from "../support/provider.ts";
import { openRaw, statusesOf } from "../support/raw.ts";
import { startService } from "../support/service.ts";

const FILES = 200;
const LIMITED = ["sh", "-c", `ulimit -n ${FILES} && exec "$@"`, "sh"];

describe("where few files may be open", () => {
  it.each([
    [10_000, 1_024, 512],
    [10_000, 20_000, 10_000],
    [10_000, 1_048_576, 10_000],
    [100, 1_024, 100],
    [10_000, null, 10_000],
    [10, 1, 1],
  ])("of %i connections wanted with %s files, %i are taken", (wanted, files, taken) => {
    expect(connectionsFor(wanted, files)).toBe(taken);
  });

  it.skipIf(process.platform !== "linux")("the limit is read", () => {
    expect(mostOpenFiles()).toBeGreaterThan(0);
  });

  it.skipIf(process.platform !== "linux").each(["node", "bun", "binary"] as const)(
    "a start on %s says so, silent connections of strangers end nothing, and the next turn is answered",
    async (runtime) => {
      const provider = await startProvider();
      const env = { DATABASE_URL: ":memory:", OPENAI_BASE_URL: provider.openaiUrl };
      const service = await startService(runtime, env, LIMITED);
      const silent: Socket[] = [];
      onTestFinished(async () => {
        for (const socket of silent) socket.destroy();
        await service.end("SIGKILL");
        await provider.close();
      });
      const warned = service.logged.map((line) => JSON.parse(line)).filter(({ level }) => level === "warn");
      expect(warned[0]).toMatchObject({ open_files: FILES, wanted: 10_000, connections: FILES / 2 });

      const kept = openRaw(service.url, "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n");
      await expect.poll(() => statusesOf(kept.text()), PATIENT).toEqual([200]);
      const port = Number(new URL(service.url).port);
      const settled = Array.from({ length: FILES + 50 }, () => {
        const socket = connect(port, "127.0.0.1");
        silent.push(socket);
        return new Promise((resolve) => socket.on("connect", resolve).on("error", resolve));
      });
      await Promise.all(settled);
      const opened = () => readdirSync(`/proc/${service.pid}/fd`).length;
      await expect.poll(opened, PATIENT).toBeGreaterThanOrEqual(runtime === "node" ? FILES / 2 : FILES);
      // The first call to a provider, on a connection that was there before.
      const body = JSON.stringify({ message: "x" });
      const head = `POST /api/chat/send HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n`;
      kept.socket.write(`${head}Content-Length: ${body.length}\r\n\r\n${body}`);
      await expect.poll(() => statusesOf(kept.text()).length, PATIENT).toBe(2);
      if (runtime === "node") expect(statusesOf(kept.text())).toEqual([200, 200]);

      for (const socket of silent) socket.destroy();
      await expect
        .poll(async () => (await service.call("POST", "/api/chat/send", { message: "x" })).status, PATIENT)
        .toBe(200);
      expect(await service.end("SIGTERM")).toBe(0);
    },
  );
});
