import { existsSync, readdirSync, realpathSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { describe, expect, inject, it, onTestFinished } from "vitest";
import { freshPostgres } from "../support/databases.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, launchIn } from "../support/models-launch.ts";
import { startProvider } from "../support/provider.ts";
import { runToEnd } from "../support/service.ts";

const SECRET = "s".repeat(32);
const PASSWORD = "hunter2-marker";

/** A port that something else listens on until the test is over. */
async function takenPort(): Promise<string> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  onTestFinished(() => void server.close());
  const address = server.address();
  return String(typeof address === "object" && address ? address.port : 0);
}

/** An address of Postgres where nobody listens any more. */
async function unreachable(): Promise<string> {
  const gone = await startProvider();
  await gone.close();
  return `postgres://parley:${PASSWORD}@${new URL(gone.openaiUrl).host}/chats`;
}

describe.each(runtimes)("on %s, a start", (runtime) => {
  /** The lines of a start that is refused with exit code 1. */
  async function refused(env: Record<string, string>, folder = freshFolder()): Promise<string[]> {
    const { code, output } = await runToEnd(runtime, { PORT: "0", ...env }, folder);
    expect(code, output).toBe(1);
    expect(output).not.toMatch(/^\s+at /m);
    return output.trimEnd().split("\n");
  }

  it("with a wrong variable prints its line and nothing else, and makes no database", async () => {
    const folder = freshFolder();
    expect(await refused({ PORT: "abc" }, folder)).toEqual(["PORT: must be a whole number"]);
    expect(existsSync(join(folder, "parley.db"))).toBe(false);
  });

  it("with several wrong variables prints a line for each", async () => {
    const lines = await refused({ PORT: "abc", JWT_SECRET: "short", MODELS: "fast", IDLE_TIMEOUT_MS: "0" });
    expect(lines.map((line) => line.split(":")[0]).sort()).toEqual(["IDLE_TIMEOUT_MS", "JWT_SECRET", "MODELS", "PORT"]);
  });

  it("that is open is refused beyond loopback, unless ALLOW_OPEN says so", async () => {
    expect(await refused({ HOST: "0.0.0.0" })).toEqual([expect.stringMatching(/^HOST: .*JWT_SECRET.*ALLOW_OPEN=true/)]);
    const service = await launchIn(freshFolder(), runtime, { HOST: "0.0.0.0", ALLOW_OPEN: "true" });
    const port = new URL(service.url).port;
    expect((await fetch(`http://127.0.0.1:${port}/health`)).status).toBe(200);
  });

  it("without any variable listens on loopback, open, with ./parley.db and the offline model, and says so", async () => {
    const folder = freshFolder();
    const service = await launchIn(folder, runtime, { PORT: "0" });
    expect(service.url).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
    expect(existsSync(join(folder, "parley.db"))).toBe(true);
    const said = () => service.lines.join("\n");
    await expect.poll(said).toMatch(/open: .*JWT_SECRET/);
    await expect.poll(said).toMatch(/echo\/echo answers; add a key, like OPENAI_API_KEY=/);
    expect(said()).toContain(`"docs":"${service.url}/docs"`);
    expect(said()).toContain(`"database":"${join(realpathSync(folder), "parley.db")}"`);
    expect(said()).toContain(`"models":{"fast":"echo/echo","balanced":"echo/echo","smart":"echo/echo"}`);
    const sent = await service.call("/api/chat/send", { message: "Hi" });
    expect(await sent.json()).toMatchObject({ model: "echo/echo" });
  });

  it("names what looks like a slip in a name, without its value, and how a Postgres is reached, without its password", async () => {
    const DATABASE_URL = `${await freshPostgres()}?channel_binding=prefer`;
    const env = { SECRET_KEY: PASSWORD, OPENAI_KEY: PASSWORD, DATABASE_URL };
    const service = await launchIn(freshFolder(), runtime, env);
    const said = () => service.lines.join("\n");
    await expect.poll(said).toContain("SECRET_KEY: is not read; is JWT_SECRET meant?");
    await expect.poll(said).toContain("OPENAI_KEY: is not read; is OPENAI_API_KEY meant?");
    await expect.poll(said).toContain("DATABASE_URL: channel_binding in it is not heeded");
    const { host, pathname } = new URL(DATABASE_URL);
    expect(said()).toContain(`"database":"${host}${pathname}"`);
    expect(said()).not.toMatch(new RegExp(`${PASSWORD}|:postgres@`));
  });

  it("with a Postgres that nobody answers for prints one line without its password", async () => {
    const lines = await refused({ DATABASE_URL: await unreachable() });
    expect(lines).toEqual([expect.stringMatching(/^DATABASE_URL: \S/)]);
    expect(lines[0]).not.toContain(PASSWORD);
  });

  it("with a wrong password for Postgres prints one line without it", async () => {
    const url = new URL(inject("postgresUrl"));
    url.password = PASSWORD;
    const lines = await refused({ DATABASE_URL: `${url}postgres` });
    expect(lines).toEqual([expect.stringMatching(/^DATABASE_URL: .*password/)]);
    expect(lines[0]).not.toContain(PASSWORD);
  });

  it("with a password that is no part of a URL prints one line without it", async () => {
    const lines = await refused({ DATABASE_URL: `postgres://parley:${PASSWORD}%zz@127.0.0.1:1/chats` });
    expect(lines).toEqual([expect.stringMatching(/^DATABASE_URL: \S/)]);
    expect(lines[0]).not.toContain(PASSWORD);
  });

  it("with a file that is no database prints one line, and leaves the file alone", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, "notes.db"), "These are my notes, not a database. ".repeat(100));
    expect(await refused({ DATABASE_URL: "notes.db" }, folder)).toEqual([expect.stringMatching(/^DATABASE_URL: \S/)]);
    expect(existsSync(join(folder, "notes.db-wal"))).toBe(false);
  });

  it("with a folder that cannot be made prints one line", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, "file"), "");
    expect(await refused({ DATABASE_URL: "sqlite:///./file/parley.db" }, folder)).toEqual([
      expect.stringMatching(/^DATABASE_URL: \S/),
    ]);
  });

  it("on a port that is taken prints one line, and makes no database", async () => {
    const [folder, PORT] = [freshFolder(), await takenPort()];
    expect(await refused({ PORT }, folder)).toEqual([
      `PORT: ${PORT} is in use by another program; end that one, or set PORT to another`,
    ]);
    expect(readdirSync(folder)).toEqual([]);
  });

  it("on an address that is not this machine's prints one line", async () => {
    expect(await refused({ HOST: "192.0.2.1", JWT_SECRET: SECRET })).toEqual([
      "HOST: 192.0.2.1 is no address of this machine",
    ]);
  });
});
