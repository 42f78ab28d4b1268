import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { setTimeout } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { freshPostgres, open } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { listen } from "../support/db-wire.ts";
import { freePort } from "../support/global.ts";

describe("DATABASE_URL", () => {
  it.each([
    ["sqlite:///./a.db", "./a.db"],
    ["sqlite:///a.db", "a.db"],
    ["sqlite:////var/a.db", "/var/a.db"],
    ["sqlite:///a b.db", "a b.db"],
    ["sqlite:///a%20b.db", "a%20b.db"],
    ["file:./a.db", "./a.db"],
    ["file:a.db", "a.db"],
    ["file:/var/a.db", "/var/a.db"],
    ["file:///var/a.db", "/var/a.db"],
    ["file:///var/a%20b.db", "/var/a b.db"],
    ["./a.db", "./a.db"],
    ["/var/lib/parley/a b.db", "/var/lib/parley/a b.db"],
    ["parley.db", "parley.db"],
    [":memory:", ":memory:"],
    ["sqlite:///:memory:", ":memory:"],
    ["file::memory:", ":memory:"],
  ])("%j is the SQLite file %j", (url, path) => {
    expect(parseDatabaseUrl(url)).toEqual({ dialect: "sqlite", path });
  });

  it.each([
    "postgres://ann:secret@localhost:5432/parley",
    "postgresql://localhost/parley",
    "postgres://ann:p%40ss@db.example/parley?sslmode=require",
  ])("%j is Postgres, as it stands", (url) => {
    expect(parseDatabaseUrl(url)).toEqual({ dialect: "postgres", url });
  });

  it.each([
    ["mysql://localhost/parley", "must begin with sqlite:///, file:, postgres:// or postgresql://, or be a path"],
    ["https://example.com/a.db", "must begin with sqlite:///, file:, postgres:// or postgresql://, or be a path"],
    ["sqlite://a.db", "must begin with sqlite:///, file:, postgres:// or postgresql://, or be a path"],
    ["", "names no file: sqlite:///./parley.db, say"],
    ["sqlite:///", "names no file: sqlite:///./parley.db, say"],
    ["file:", "names no file: sqlite:///./parley.db, say"],
    ["postgres://ann@:no port/parley", "is no valid postgres:// URL"],
  ])("%j is refused: %s", (url, message) => {
    expect(() => parseDatabaseUrl(url)).toThrow(new Error(message));
  });

  it("names what is wrong without the password", () => {
    const wrong = ["mysql://ann:secret@localhost/parley", "postgres://ann:secret@:no port/parley"];
    for (const url of wrong) expect(() => parseDatabaseUrl(url)).toThrow(/^(?!.*secret)/);
  });
});

describe("a database in memory", () => {
  it.each([":memory:", "sqlite:///:memory:"])("opens at %s, works, and is nobody else's", async (url) => {
    const [one, two] = [closing(await open(url)), closing(await open(url))];
    const { put, raise, read } = marksOf();
    const id = nextId();
    await one.batch([put(id), raise(id)]);
    expect(await read(one)).toEqual([{ id, rev: 1 }]);
    expect(await read(two)).toEqual([]);
    expect(existsSync(":memory:")).toBe(false);
  });
});

describe("a Postgres that cannot be had", () => {
  const openAt = (url: string) => refusal(openDatabase({ dialect: "postgres", url }));

  it("fails at once where nobody listens", async () => {
    const before = performance.now();
    expect(codeOf(await openAt(`postgres://ann@127.0.0.1:${await freePort()}/parley`))).toBe("ECONNREFUSED");
    expect(performance.now() - before).toBeLessThan(5_000);
  });

  it.concurrent.each([
    { answer: "says nothing", to: (socket: Socket) => void socket.resume() },
    { answer: "hangs up", to: (socket: Socket) => void socket.end() },
    {
      answer: "resets the connection",
      to: (socket: Socket) => void socket.once("data", () => socket.resetAndDestroy()),
    },
    { answer: "is no Postgres", to: (socket: Socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
  ])("fails within 15 seconds where somebody listens who $answer", async ({ to }) => {
    const port = await listen(to);
    const opened = openAt(`postgres://ann@127.0.0.1:${port}/parley`);
    expect(await Promise.race([opened, setTimeout(15_000, "no answer", { ref: false })])).toBeInstanceOf(Error);
  });

  it("fails where the role is unknown", async () => {
    const url = new URL(await freshPostgres());
    url.username = "nobody";
    expect(codeOf(await openAt(url.href))).toMatch(/^28/);
  });
});
