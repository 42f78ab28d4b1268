import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { connectTo, readPostgresUrl } from "./postgres-address.ts";

export type DatabaseAddress = { dialect: "postgres"; url: string } | { dialect: "sqlite"; path: string };

const RIGHT = "write sqlite:///./parley.db, say, or postgres://user:password@host/name";
const UNFILLED = `still holds a placeholder, which nothing has filled in: ${RIGHT}`;
const SPELLINGS = `begins with none of sqlite:///, file:, postgres:// and postgresql://: ${RIGHT}`;
/** What an address has and a path has not: each would make a file whose name is a slip. */
const NO_PATH = /[@:\\]|\/\//;
const PLACEHOLDER =
  /[<>{}$]|%\w+%|(?:^|[/._-])(?:change[_-]?me|replace[_-]?(?:me|this|with)(?![a-z])|your[_-]|path\/to\/)/i;
const WINDOWS_DRIVE = /^[a-z]:(?=[\\/])/i;

/**
 * Reads every spelling of DATABASE_URL: `postgres://…`, `sqlite:///path`, `file:…`, a path, `:memory:`; the driver that
 * SQLAlchemy's spelling names is left out. Throws a plain Error that names what would be right, and never the value.
 */
export function parseDatabaseUrl(value: string): DatabaseAddress {
  refuseSlips(value);
  const url = value.replace(/^(postgres(?:ql)?|sqlite)\+\w+:\/\//i, "$1://");
  if (/^postgres(ql)?:\/\//i.test(url)) {
    if (!readPostgresUrl(url).options.database) {
      throw new Error("names no database: write its name behind the host, as in postgres://user:password@host/name");
    }
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
  if (value === "" || value === ":memory:") return value;
  const [scheme = ""] = /^(sqlite:\/\/\/|file:)/i.exec(value) ?? [];
  if (scheme === "") refuseUnlessPath(value);
  if (value.includes("?")) throw new Error("takes no parameters behind a ? for SQLite");
  return value.startsWith("file://") ? fileURLToPath(value) : value.slice(scheme.length);
}

/** Without sqlite:/// or file: before it only what looks like a path is one. */
function refuseUnlessPath(value: string): void {
  const path = process.platform === "win32" ? value.replace(WINDOWS_DRIVE, "").replaceAll("\\", "/") : value;
  if (/^[a-z][a-z0-9+.-]+:|^\/\//i.test(path)) throw new Error(SPELLINGS);
  if (NO_PATH.test(path)) throw new Error(`is neither an address nor a path: ${RIGHT}`);
  if (PLACEHOLDER.test(path)) throw new Error(UNFILLED);
  if (/^(\.{0,2}\/|~)|\.(db3?|sqlite3?)$/i.test(path)) return;
  throw new Error(`is no path, which begins with /, ./ or ../, or ends in .db, .sqlite or .sqlite3: ${RIGHT}`);
}

/** What would become a new SQLite file with an address, and perhaps a password, as its name. */
function refuseSlips(value: string): void {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  if (/[\u0000-\u001f]/.test(value)) throw new Error("must be one line");
  if (/^["'`]|["'`]$/.test(value)) throw new Error("stands in quotes: take them off");
  if (/\$\{|\{\{/.test(value)) throw new Error(UNFILLED);
  if (/^jdbc:/i.test(value)) throw new Error("is an address for Java: write postgres://user:password@host:5432/name");
  if (/^sqlite:(?!\/\/\/)/i.test(value)) throw new Error("needs three slashes for a path: sqlite:///./parley.db, say");
  if (/^\s*(host|dbname|user|port)\s*=/.test(value))
    throw new Error("is no URL: write postgres://user:password@host:5432/name");
  if (/.:\/\//.test(value) && !/^(postgres(ql)?|sqlite|file)[+:]/i.test(value)) throw new Error(SPELLINGS);
}

/** Where the database lies, for people: a file's whole path, or host and name; the user only where the address names none. */
export function placeOf(address: DatabaseAddress): string {
  if (address.dialect === "sqlite") {
    return address.path === ":memory:" ? "in memory, gone when the service stops" : resolve(address.path);
  }
  const { host, port, path, database, user } = connectTo(address.url, {}).options;
  const places = host.map((name, i) => `${name.includes(":") ? `[${name}]` : name}:${port[i]}`).join(",");
  const by = readPostgresUrl(address.url).options.username ? "" : ` as ${user}`;
  return `${path || places}/${database}${by}`;
}

/** What of an address goes unheeded, in words. */
export function unheededIn(address: DatabaseAddress): string[] {
  return address.dialect === "postgres" ? readPostgresUrl(address.url).unheeded : [];
}
