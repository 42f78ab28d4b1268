import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { readPostgresUrl } from "./postgres-address.ts";

export type DatabaseAddress = { dialect: "postgres"; url: string } | { dialect: "sqlite"; path: string };

const SPELLINGS = "must begin with sqlite:///, file:, postgres:// or postgresql://, or be a path";
/** What a person means as a path: anything else would be a file whose name is a slip. */
const LIKE_A_PATH = /[/\\]|\.(db3?|sqlite3?)$/i;

/**
 * Reads every spelling of DATABASE_URL: `postgres://…`, `sqlite:///path`, `file:…`, a path, `:memory:`; the driver that
 * SQLAlchemy's spelling names is left out. Throws a plain Error that names what would be right, and never the value.
 */
export function parseDatabaseUrl(value: string): DatabaseAddress {
  refuseSlips(value);
  const url = value.replace(/^(postgres(?:ql)?|sqlite)\+\w+:\/\//i, "$1://");
  if (/^postgres(ql)?:\/\//i.test(url)) {
    readPostgresUrl(url);
    return { dialect: "postgres", url };
  }
  return { dialect: "sqlite", path: sqlitePath(url) };
}

function sqlitePath(value: string): string {
  const path = afterScheme(value);
  if (path === "") throw new Error("names no file: sqlite:///./parley.db, say");
  if (path === ":memory:") return path;
  if (path.startsWith("~")) throw new Error("begins with ~, which only a shell puts in: write the whole path");
  return path;
}

function afterScheme(value: string): string {
  const [scheme = ""] = /^(sqlite:\/\/\/|file:)/i.exec(value) ?? [];
  if (scheme === "") {
    if (value !== ":memory:" && /^[a-z][a-z0-9+.-]+:|^\/\//i.test(value)) throw new Error(SPELLINGS);
    if (value !== "" && value !== ":memory:" && !LIKE_A_PATH.test(value)) {
      throw new Error(`${SPELLINGS} that has a / in it or ends in .db, .sqlite or .sqlite3`);
    }
    return value;
  }
  if (value.includes("?")) throw new Error("takes no parameters behind a ? for SQLite");
  return value.startsWith("file://") ? fileURLToPath(value) : value.slice(scheme.length);
}

/** What would become a new SQLite file with an address, and perhaps a password, as its name. */
function refuseSlips(value: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f]/.test(value)) throw new Error("must be one line");
  if (/^["'`]|["'`]$/.test(value)) throw new Error("stands in quotes: take them off");
  if (/\$\{|\{\{/.test(value)) throw new Error("still holds a placeholder, which nothing has filled in");
  if (/^jdbc:/i.test(value)) throw new Error("is an address for Java: write postgres://user:password@host:5432/name");
  if (/^sqlite:(?!\/\/\/)/i.test(value)) throw new Error("needs three slashes for a path: sqlite:///./parley.db, say");
  if (/^\s*(host|dbname|user|port)\s*=/.test(value))
    throw new Error("is no URL: write postgres://user:password@host:5432/name");
  if (/.:\/\//.test(value) && !/^(postgres(ql)?|sqlite|file)[+:]/i.test(value)) throw new Error(SPELLINGS);
}

/** Where the database lies, for people: a file's whole path, or host and name without user and password. */
export function placeOf(address: DatabaseAddress): string {
  if (address.dialect === "sqlite") {
    return address.path === ":memory:" ? "in memory, gone when the service stops" : resolve(address.path);
  }
  const { host = ["localhost"], port = [5432], path, database } = readPostgresUrl(address.url).options;
  const places = host.map((name, i) => `${name.includes(":") ? `[${name}]` : name}:${port[i]}`).join(",");
  return `${path ?? places}${database ? `/${database}` : ""}`;
}

/** What of an address goes unheeded, in words. */
export function unheededIn(address: DatabaseAddress): string[] {
  return address.dialect === "postgres" ? readPostgresUrl(address.url).unheeded : [];
}
