import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { migrations } from "../../drizzle/migrations.ts";
import { SECRET } from "../support/app.ts";
import { databases } from "../support/databases.ts";
import { freePort } from "../support/global.ts";
import { freshFolder } from "../support/models-launch.ts";
import { runCommand, type Service, startService } from "../support/service.ts";

const COMMANDS = ["serve", "migrate", "token", "doctor", "backup", "vacuum", "healthcheck"];
const NOWHERE = "http://127.0.0.1:1";

let service: Service;
/** Servers at HOST and PORT that are no Parley which is ready: one says so, one says nothing. */
const refusing = createServer((_, response) => response.writeHead(503).end());
const silent = createServer(() => {});
const others = [refusing, silent];
beforeAll(async () => {
  for (const one of others) await new Promise<void>((resolve) => one.listen(0, "127.0.0.1", resolve));
  service = await startService("node", { DATABASE_URL: ":memory:", HOST: "0.0.0.0", JWT_SECRET: SECRET });
});
afterAll(async () => {
  for (const one of others) one.close().closeAllConnections();
  await service.end("SIGKILL");
});

const portOf = (server: Server) => (server.address() as AddressInfo).port;

describe.each(["node", "bun", "binary"] as const)("on %s", (runtime) => {
  const parley = (args: string[], env: Record<string, string> = {}, cwd = freshFolder()) =>
    runCommand(runtime, args, { env, cwd });

  it("says what can be asked for, and of which version it is", async () => {
    for (const args of [["help"], ["--help"], ["-h"]]) {
      const { code, out, error } = await parley(args);
      expect([code, error]).toEqual([0, ""]);
      expect(COMMANDS.filter((name) => !out.includes(`  ${name} `))).toEqual([]);
    }
    for (const args of [
      ["token", "--help"],
      ["token", "-h"],
      ["help", "token"],
    ]) {
      const { code, out, error } = await parley(args);
      expect([code, error]).toEqual([0, ""]);
      expect(out).toMatch(/^parley token --sub /);
    }
    for (const flag of ["--version", "-v"]) {
      expect(await parley([flag])).toEqual({ code: 0, out: expect.stringMatching(/^parley \d+\.\d+/), error: "" });
    }
  });

  it("does nothing where it is asked for what there is not, says so in one line, and ends with 2", async () => {
    const wrong = [
      ["nope"],
      ["--nope"],
      ["serve", "--port"],
      ["token", "--admin"],
      ["doctor", "x"],
      ["migrate", "-x"],
      ["help", "nope"],
    ];
    const said = await Promise.all(wrong.map((args) => parley(args)));
    for (const [i, { code, out, error }] of said.entries()) {
      expect([code, out]).toEqual([2, ""]);
      expect(error).toMatch(new RegExp(`^[^\\n]*'${wrong[i]?.at(-1)}'; see parley --help\\n$`));
    }
  });

  it.each(databases)("migrates $database and says by what, once", async ({ fresh }) => {
    const env = { DATABASE_URL: await fresh() };
    const tags = migrations[env.DATABASE_URL.startsWith("postgres") ? "postgres" : "sqlite"].map(({ tag }) => tag);
    const out = tags.map((tag) => `applied ${tag}\n`).join("");
    expect(await parley(["migrate"], env)).toEqual({ code: 0, out, error: "" });
    expect(await parley(["migrate"], env)).toEqual({ code: 0, out: "up to date\n", error: "" });
    const { out: found } = await parley(["doctor"], env);
    expect(found).toContain(`${tags.length} migrations applied, up to date`);
  });

  it("migrates no database that cannot be reached, and says why without its password", async () => {
    const { code, out, error } = await parley(["migrate"], { DATABASE_URL: "postgres://a:hunter2@127.0.0.1:1/b" });
    expect([code, out]).toEqual([1, ""]);
    expect(error).toMatch(/^DATABASE_URL: .*\n$/);
    expect(error).not.toContain("hunter2");
  });

  const check = async (port: string | number, env = {}) => {
    const proxies = { HTTP_PROXY: NOWHERE, http_proxy: NOWHERE, NODE_USE_ENV_PROXY: "1" };
    const { code, error } = await parley(["healthcheck"], { PORT: String(port), ...proxies, ...env });
    return [code, error];
  };

  it("tells whether the service at HOST and PORT is ready, whatever proxy there is", async () => {
    const { port } = new URL(service.url);
    expect(
      await Promise.all([
        check(port),
        check(port, { HOST: "0.0.0.0", JWT_SECRET: SECRET }),
        check(await freePort()),
        check(portOf(refusing)),
        check(0),
      ]),
    ).toEqual([
      [0, ""],
      [0, ""],
      [1, expect.stringMatching(/^not ready: .*ECONNREFUSED/)],
      [1, "not ready: HTTP 503\n"],
      [1, expect.stringMatching(/^PORT: /)],
    ]);
  });
  // Three seconds, so it is tried where it counts.
  it.runIf(runtime === "binary")("waits for no service that is silent", async () => {
    expect(await check(portOf(silent))).toEqual([1, expect.stringMatching(/^not ready: .*(timeout|timed out|abort)/i)]);
  });
});
