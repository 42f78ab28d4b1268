import postgres from "postgres";

type Options = postgres.Options<Record<string, never>>;
type Hosts = { host?: string[]; port?: number[]; path?: string };
type AddressOptions = Omit<Options, keyof Hosts> & Hosts;

/** The parts of an address, in which several hosts may stand. */
const SHAPE = /^\w+:\/\/(?:([^/?#]*)@)?([^@/?#]*)(?:\/([^@?#]*))?(?:\?((?:[\w.-]+(?:=[^&#]*)?(?:&|$))*))?$/;
const PORT = 5432;

/** How libpq and others write it, and which of the driver's ways is meant. */
const SSL: Record<string, Options["ssl"]> = {
  disable: false,
  false: false,
  allow: "prefer",
  prefer: "prefer",
  require: "require",
  "no-verify": "require",
  "verify-ca": "verify-full",
  "verify-full": "verify-full",
  true: "verify-full",
};
const ATTRS = ["read-write", "read-only", "primary", "standby", "prefer-standby"] as const;
/** What the server is told. It refuses a connection that names a setting it does not know. */
const SETTINGS = [
  "application_name",
  "options",
  "search_path",
  "statement_timeout",
  "lock_timeout",
  "idle_in_transaction_session_timeout",
];

/** Connects lazily, to where the address says; what it says of settings comes before `options`. */
export function connectTo(url: string, options: Options): postgres.Sql {
  const named = readPostgresUrl(url).options;
  const connection = { ...options.connection, ...named.connection };
  return postgres({ ...named, ...options, connection } as Options); // its types know one host alone
}

/**
 * Reads an address as Postgres and those who host it write it: several hosts, sockets, parameters. `unheeded` names the
 * parameters that are passed over. Throws a plain Error that says what would be right, and never the value.
 */
export function readPostgresUrl(url: string): { options: AddressOptions; unheeded: string[] } {
  const [whole, login = "", where = "", name = "", query = ""] = SHAPE.exec(url) ?? [];
  if (whole === undefined || /\s/.test(url)) {
    throw new Error("is no valid postgres:// URL: in a password @ is written %40, / %2F, # %23 and ? %3F");
  }
  const { host, port, user, password, dbname, schema, ...rest } = Object.fromEntries(new URLSearchParams(query));
  const { ssl, sslmode = ssl, sslrootcert, target_session_attrs, pgbouncer, prepare, ...others } = rest;
  const hosts = hostsOf(decoded(where) || (host ?? ""), port);
  const [, before = "", behind = ""] = /^([^:]*):?(.*)$/.exec(login) ?? [];
  const named = {
    username: decoded(before) || user,
    password: decoded(behind) || password,
    database: decoded(name) || dbname,
  };
  const passedOver = {
    ...others,
    ...(schema !== "public" && { schema }),
    ...(sslrootcert !== "system" && { sslrootcert }),
  };
  const unheeded = Object.entries(passedOver).flatMap(([parameter, value]) =>
    value === undefined || SETTINGS.includes(parameter) ? [] : [parameter],
  );
  const options = {
    ...hosts,
    ...Object.fromEntries(Object.entries(named).filter(([, value]) => value)),
    ssl: sslOf(sslrootcert === "system" ? "verify-full" : sslmode, hosts),
    ...attrsOf(target_session_attrs),
    // A pool that hands each transaction another connection has no statement that an earlier one prepared.
    ...((pgbouncer === "true" || prepare === "false") && { prepare: false }),
    connection: Object.fromEntries(Object.entries(others).filter(([parameter]) => SETTINGS.includes(parameter))),
  };
  return { options, unheeded };
}

function hostsOf(where: string, port = ""): Hosts {
  const [socket, folder, suffix] = /^(\/.*?)(?::(\d+))?$/.exec(where) ?? [];
  if (socket) return { path: `${folder}/.s.PGSQL.${suffix ?? (port || PORT)}` };
  const places = where.split(",").map((place) => /^(\[[^\]]*\]|[^:]*)(?::(\d*))?$/.exec(place));
  const ports = places.map((place, i) => Number(place?.[2] || (port.split(",")[i] ?? port) || PORT));
  if (places.includes(null) || ports.some((one) => !(one >= 1 && one <= 65535))) {
    throw new Error("is no valid postgres:// URL: a port is a number up to 65535 behind the host, like localhost:5432");
  }
  const names = places.map((place) => place?.[1]?.replace(/^\[|\]$/g, "") ?? "");
  return names[0] === "" ? {} : { host: names, port: ports };
}

/** Without a word it is as everywhere: encrypted where the server can, except on this machine. */
function sslOf(mode: string | undefined, { host }: Hosts): NonNullable<Options["ssl"]> {
  const isNear = !host || host.every((name) => /^(localhost|127\..*|::1)$/.test(name));
  const ssl = mode === undefined ? (isNear ? false : "prefer") : SSL[mode];
  if (ssl === undefined) throw new Error("has an sslmode that is none: disable, prefer, require or verify-full");
  return ssl;
}

function attrsOf(value = "any"): Pick<Options, "target_session_attrs"> {
  if (value === "any") return {};
  const found = ATTRS.find((one) => one === value);
  if (!found) throw new Error(`has a target_session_attrs that is none of ${ATTRS.join(", ")}, any`);
  return { target_session_attrs: found };
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new Error("is no valid postgres:// URL: a % that begins no %XX is written %25");
  }
}
