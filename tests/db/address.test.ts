import { existsSync } from "node:fs";
import type { Socket } from "node:net";
import { resolve } from "node:path";
import { describe, expect, it } from "vitest";
import { placeOf } from "../../src/db/address.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";
import { readPostgresUrl } from "../../src/db/postgres-address.ts";
import { codeOf } from "../../src/db/postgres-errors.ts";
import { freshPostgres, open } from "../support/databases.ts";
import { closing, refusal } from "../support/db-handles.ts";
import { nextId } from "../support/db-ids.ts";
import { marksOf } from "../support/db-marks.ts";
import { connectPostgres } from "../support/db-postgres.ts";
import { listen } from "../support/db-wire.ts";
import { freePort } from "../support/global.ts";

const RIGHT = "write sqlite:///./parley.db, say, or postgres://user:password@host/name";
const SPELLINGS = `begins with none of sqlite:///, file:, postgres:// and postgresql://: ${RIGHT}`;
const UNFILLED = `still holds a placeholder, which nothing has filled in: ${RIGHT}`;
const NO_ADDRESS = `is neither an address nor a path: ${RIGHT}`;
const NO_PATH = `is no path, which begins with /, ./ or ../, or ends in .db, .sqlite or .sqlite3: ${RIGHT}`;

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
    ["sqlite+aiosqlite:///./a.db", "./a.db"],
    ["a.sqlite3", "a.sqlite3"],
    ["./data/chats", "./data/chats"],
    ["../chats", "../chats"],
    ["/var/change-log/replacement", "/var/change-log/replacement"],
    ["sqlite:///u:p@h/x", "u:p@h/x"],
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
    ["mysql://localhost/parley", SPELLINGS],
    ["https://example.com/a.db", SPELLINGS],
    ["sqlite://a.db", "needs three slashes for a path: sqlite:///./parley.db, say"],
    ["sqlite:a.db", "needs three slashes for a path: sqlite:///./parley.db, say"],
    ["//localhost/parley", SPELLINGS],
    ["user:secret@localhost/parley", SPELLINGS],
    ["jdbc:postgresql://localhost/parley", "is an address for Java: write postgres://user:password@host:5432/name"],
    ["host=/tmp dbname=parley", "is no URL: write postgres://user:password@host:5432/name"],
    ["'postgres://localhost/parley'", "stands in quotes: take them off"],
    ["postgres://localhost/parley\n", "must be one line"],
    ["\x24{DATABASE_URL}", UNFILLED],
    ["postgres://\x24{USER}@localhost/parley", UNFILLED],
    ["~/parley.db", "begins with ~, which only a shell puts in: write the whole path"],
    ["sqlite:///./a.db?mode=rwc", "takes no parameters behind a ? for SQLite"],
    ["./a.db?mode=rwc", "takes no parameters behind a ? for SQLite"],
    ["parley", NO_PATH],
    ["postgres://ann@127.0.0.1:5432", /^names no database: /],
    ["postgres://", /^names no database: /],
    ["postgres://ann@localhost/?sslmode=disable", /^names no database: /],
    ["", "names no file: sqlite:///./parley.db, say"],
    ["sqlite:///", "names no file: sqlite:///./parley.db, say"],
    ["file:", "names no file: sqlite:///./parley.db, say"],
    ["postgres://ann@:no port/parley", /^is no valid postgres:\/\/ URL: /],
    ["postgres://ann:se#cret@localhost/parley", /^is no valid postgres:\/\/ URL: .*# %23/],
    ["postgres://ann:1/secret@localhost/parley", /^is no valid postgres:\/\/ URL: .*\/ %2F/],
    ["postgres://ann:1?secret@localhost/parley", /^is no valid postgres:\/\/ URL: .*\? %3F/],
    ["postgres://ann:secret%zz@localhost/parley", /^is no valid postgres:\/\/ URL: .*%25/],
    ["postgres://localhost:99999/parley", /^is no valid postgres:\/\/ URL: .*port/],
    ["postgres://localhost/parley?sslmode=yes", /^has an sslmode that is none/],
    ["postgres://localhost/parley?target_session_attrs=best", /^has a target_session_attrs that is none/],
  ])("%j is refused: %s", (url, message) => {
    expect(() => parseDatabaseUrl(url)).toThrow(message instanceof RegExp ? message : new Error(message));
  });

  it.each([
    ["postgresql+asyncpg://ann:secret@localhost/parley", "postgresql://ann:secret@localhost/parley"],
    ["postgresql+psycopg2://localhost/parley", "postgresql://localhost/parley"],
    ["postgres+pg8000://localhost/parley", "postgres://localhost/parley"],
  ])("%j is Postgres, without the driver of another language", (url, meant) => {
    expect(parseDatabaseUrl(url)).toEqual({ dialect: "postgres", url: meant });
  });

  it.each([
    ["user_name:s3cret@host/db", NO_ADDRESS],
    ["u_1:s3c_ret@host/db", NO_ADDRESS],
    ["postgres//u:p@h/x", NO_ADDRESS],
    ["pgsql_prod//u:s3cret@h/x", NO_ADDRESS],
    ["http//example.com/x.db", NO_ADDRESS],
    ["u@h/x", NO_ADDRESS],
    ["127.0.0.1:5432/mydb", NO_ADDRESS],
    ["my_db_host:5432/mydb", NO_ADDRESS],
    ["/u:s3cret@h/x", NO_ADDRESS],
    ["./data//a.db", NO_ADDRESS],
    ["localhost/mydb", NO_PATH],
    ["postgres.example.com/db", NO_PATH],
    ["data/chats", NO_PATH],
    ["REPLACE_ME/x.db", UNFILLED],
    ["/data/replace-with-name.db", UNFILLED],
    ["changeme.db", UNFILLED],
    ["<path>.db", UNFILLED],
    ["your-db.db", UNFILLED],
    ["/path/to/parley.db", UNFILLED],
    ["$HOME/parley.db", UNFILLED],
    ["/data/{name}.db", UNFILLED],
  ])("%j would make a SQLite file that nobody means: %s", (url, message) => {
    expect(() => parseDatabaseUrl(url)).toThrow(new Error(message));
    expect(message).not.toContain(url);
  });

  it.runIf(process.platform !== "win32")("of Windows is no path on another system", () => {
    for (const url of ["C:\\data\\a.db", "data\\a.db"]) {
      expect(() => parseDatabaseUrl(url)).toThrow(new Error(NO_ADDRESS));
    }
  });

  it("names what is wrong without the password", () => {
    const wrong = ["mysql://ann:secret@localhost/parley", "postgres://ann:secret@:no port/parley"];
    for (const url of wrong) expect(() => parseDatabaseUrl(url)).toThrow(/^(?!.*secret)/);
  });
});

describe("an address of Postgres", () => {
  const AWS = "ep-a-b-1.eu-central-1.aws.neon.tech";

  it.each<[string, string, object, string[]]>([
    [
      "Neon",
      `postgresql://ann:secret@${AWS}/parley?sslmode=require&channel_binding=require`,
      { host: [AWS], port: [5432], ssl: "require" },
      ["channel_binding"],
    ],
    [
      "Supabase's pool",
      "postgresql://ann.ref:secret@pooler.supabase.com:6543/parley?pgbouncer=true&connection_limit=1",
      { username: "ann.ref", port: [6543], prepare: false, ssl: "prefer" },
      ["connection_limit"],
    ],
    ["Prisma", "postgresql://h/parley?schema=public", { connection: {} }, []],
    ["Prisma, with a schema", "postgresql://h/parley?schema=app", { connection: {} }, ["schema"]],
    [
      "RDS",
      "postgres://ann:secret@a.rds.amazonaws.com/parley?sslmode=verify-full&sslrootcert=/a.pem",
      { ssl: "verify-full", connection: {} },
      ["sslrootcert"],
    ],
    ["Heroku", "postgres://ann:secret@ec2-1.compute-1.amazonaws.com:5432/parley", { ssl: "prefer" }, []],
    ["asyncpg", "postgresql://h/parley?ssl=require", { ssl: "require" }, []],
    ["this machine", "postgres://127.0.0.1/parley", { ssl: false }, []],
    [
      "several hosts",
      "postgres://h1:5433,h2,[::1]:5434/parley?target_session_attrs=read-write",
      { host: ["h1", "h2", "::1"], port: [5433, 5432, 5434], target_session_attrs: "read-write" },
      [],
    ],
    [
      "a socket",
      "postgres://ann:secret@/parley?host=/cloudsql/a:b:c",
      { path: "/cloudsql/a:b:c/.s.PGSQL.5432", password: "secret", database: "parley", ssl: false },
      [],
    ],
    ["a socket as a host", "postgres://%2Frun%2Fpg:5433/parley", { path: "/run/pg/.s.PGSQL.5433" }, []],
    [
      "settings of the session",
      "postgres://h/parley?application_name=a%20b&statement_timeout=5000&foo=1",
      { connection: { application_name: "a b", statement_timeout: "5000" } },
      ["foo"],
    ],
  ])("of %s is understood", (_, url, options, unheeded) => {
    const read = readPostgresUrl(url);
    expect(read.options).toMatchObject(options);
    expect(Object.keys(read.options.connection ?? {})).toEqual(
      Object.keys("connection" in options ? Object(options.connection) : {}),
    );
    expect(read.unheeded).toEqual(unheeded);
  });

  it("is shown by host and name, and a file by its whole path", () => {
    const placeAt = (url: string) => placeOf(parseDatabaseUrl(url));
    expect(placeAt("postgres://ann:secret@h1:5433,[::1]/parley?sslmode=require")).toBe("h1:5433,[::1]:5432/parley");
    expect(placeAt("postgres://ann:secret@/parley?host=/tmp")).toBe("/tmp/.s.PGSQL.5432/parley");
    expect(placeAt("postgres:///parley?user=ann")).toBe("localhost:5432/parley");
    expect(placeAt("postgres:///parley")).toMatch(/^localhost:5432\/parley as \S/);
    expect(placeAt("sqlite:///./a.db")).toBe(resolve("a.db"));
  });

  it("with parameters of all kinds, and a second host, opens a database, over TCP and over a socket", async () => {
    const url = new URL(await freshPostgres());
    const more = "channel_binding=prefer&pgbouncer=true&schema=public&connection_limit=1&application_name=parley&foo=1";
    const hosts = `127.0.0.1:${await freePort()},${url.host}`;
    const tcp = closing(
      await open(`postgresql+asyncpg://${url.username}:${url.password}@${hosts}${url.pathname}?${more}`),
    );
    const { put, read } = marksOf();
    const id = nextId();
    await tcp.batch([put(id)]);
    const client = connectPostgres(url.href);
    const [setting] = await client`show unix_socket_directories`;
    const folder = String(setting?.["unix_socket_directories"]).split(",")[0];
    const at = `host=${folder}&port=${url.port}`;
    const socket = closing(await open(`postgres://${url.username}:${url.password}@${url.pathname}?${at}`));
    expect(await read(socket)).toEqual([{ id, rev: 0 }]);
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

  it("fails where nobody listens", async () => {
    expect(codeOf(await openAt(`postgres://ann@127.0.0.1:${await freePort()}/parley`))).toBe("ECONNREFUSED");
  });

  it.concurrent.each([
    { answer: "says nothing", to: (socket: Socket) => void socket.resume() },
    { answer: "hangs up", to: (socket: Socket) => void socket.end() },
    {
      answer: "resets the connection",
      to: (socket: Socket) => void socket.once("data", () => socket.resetAndDestroy()),
    },
    { answer: "is no Postgres", to: (socket: Socket) => void socket.end("HTTP/1.1 400 Bad Request\r\n\r\n") },
  ])("fails where somebody listens who $answer", async ({ to }) => {
    const port = await listen(to);
    expect(await openAt(`postgres://ann@127.0.0.1:${port}/parley`)).toBeInstanceOf(Error);
  });

  it("fails where the role is unknown", async () => {
    const url = new URL(await freshPostgres());
    url.username = "nobody";
    expect(codeOf(await openAt(url.href))).toMatch(/^28/);
  });
});
