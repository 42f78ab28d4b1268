/** Variables that look like one of ours and are not: a slip in a name leaves a service open, or without its database. */

/** What other services call it. */
const ELSEWHERE: Record<string, string> = {
  SECRET_KEY: "JWT_SECRET",
  JWT_SECRET_KEY: "JWT_SECRET",
  JWT_KEY: "JWT_SECRET",
  AUTH_SECRET: "JWT_SECRET",
  JWKS_URL: "JWT_JWKS_URL",
  JWKS_URI: "JWT_JWKS_URL",
  API_KEY: "API_KEYS",
  DB_URL: "DATABASE_URL",
  DB_URI: "DATABASE_URL",
  DB_HOST: "DATABASE_URL",
  DB_NAME: "DATABASE_URL",
  DB_PATH: "DATABASE_URL",
  DATABASE: "DATABASE_URL",
  DATABASE_PATH: "DATABASE_URL",
  DATABASE_DSN: "DATABASE_URL",
  POSTGRES_URL: "DATABASE_URL",
  POSTGRES_URI: "DATABASE_URL",
  POSTGRESQL_URL: "DATABASE_URL",
  POSTGRES_HOST: "DATABASE_URL",
  PG_URL: "DATABASE_URL",
  PGHOST: "DATABASE_URL",
  PGDATABASE: "DATABASE_URL",
  SQLALCHEMY_DATABASE_URL: "DATABASE_URL",
  SQLALCHEMY_DATABASE_URI: "DATABASE_URL",
  OPENAI_KEY: "OPENAI_API_KEY",
  OPENAI_TOKEN: "OPENAI_API_KEY",
  OPENAI_API_BASE: "OPENAI_BASE_URL",
  OPENAI_URL: "OPENAI_BASE_URL",
  OPENAI_HOST: "OPENAI_BASE_URL",
  OPENAI_MODEL: "MODELS",
  GROQ_KEY: "GROQ_API_KEY",
  GROQ_TOKEN: "GROQ_API_KEY",
  GROQ_MODEL: "MODELS",
  OLLAMA_HOST: "OPENAI_BASE_URL",
  OLLAMA_URL: "OPENAI_BASE_URL",
  OLLAMA_BASE_URL: "OPENAI_BASE_URL",
  RUNPOD_KEY: "RUNPOD_API_KEY",
  RUNPOD_TOKEN: "RUNPOD_API_KEY",
  RUNPOD_ENDPOINT: "RUNPOD_ENDPOINT_ID",
  RUNPOD_ENDPOINT_URL: "RUNPOD_ENDPOINT_ID",
  STREAM_KEY: "STREAM_API_KEY",
  STREAM_API_SECRET: "STREAM_SECRET",
  CORS_ORIGIN: "ALLOWED_ORIGINS",
  CORS_ORIGINS: "ALLOWED_ORIGINS",
  CORS_ALLOW_ORIGINS: "ALLOWED_ORIGINS",
  CORS_ALLOWED_ORIGINS: "ALLOWED_ORIGINS",
  BACKEND_CORS_ORIGINS: "ALLOWED_ORIGINS",
  REDIS: "REDIS_URL",
  REDIS_HOST: "REDIS_URL",
  REDIS_ADDR: "REDIS_URL",
  REDIS_ADDRESS: "REDIS_URL",
};

const PREFIX = /^PARLEY_/;
/** Units, which one of ours ends in and its slip may not, or in another one. */
const UNIT = /_(MS|S|SECS?|SECONDS|BYTES|KB|MB|DAYS)$/;
/** Of a short name so much else is near that one of ours beside it is no slip. */
const LONG = 8;

/** A line for each variable that is set and not read, where one of `ours` may be meant. Values are not shown. */
export function lookalikes(given: Readonly<Record<string, string>>, ours: readonly string[]): string[] {
  return Object.entries(given).flatMap(([name, value]) => {
    if (ours.includes(name) || isOfContainers(name, value)) return [];
    const plain = name.toUpperCase().replace(PREFIX, "");
    const known = Object.hasOwn(ELSEWHERE, plain) ? ELSEWHERE[plain] : undefined;
    const meant = known ?? nearest(plain, ours);
    if (meant === undefined) return [];
    if (!(meant in given)) return [`${name}: is not read; is ${meant} meant?`];
    const isSlip = known === undefined && meant.length >= LONG;
    return isSlip ? [`${name}: is not read; ${meant} is set as well, and is read`] : [];
  });
}

/** Kubernetes tells every container where a service named parley is. */
const isOfContainers = (name: string, value: string) => PREFIX.test(name) && /^(tcp|udp):\/\//.test(value);

function nearest(plain: string, ours: readonly string[]): string | undefined {
  const bare = plain.replace(UNIT, "");
  return ours.find((one) => areNear(plain, one)) ?? ours.find((one) => one.replace(UNIT, "") === bare);
}

/** A slip in a short name, two in a long one. */
const areNear = (name: string, one: string) => distance(name, one) <= (one.length < LONG ? 1 : 2);

/** Letters to put in, take out, change, or swap with their neighbour. */
function distance(a: string, b: string): number {
  const rows = [Array.from({ length: b.length + 1 }, (_, j) => j)];
  const at = (i: number, j: number) => rows[i]?.[j] ?? Number.POSITIVE_INFINITY;
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    rows.push(row);
    for (let j = 1; j <= b.length; j++) {
      const isSwap = a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      row.push(
        Math.min(
          at(i - 1, j) + 1,
          at(i, j - 1) + 1,
          at(i - 1, j - 1) + (a[i - 1] === b[j - 1] ? 0 : 1),
          isSwap ? at(i - 2, j - 2) + 1 : Number.POSITIVE_INFINITY,
        ),
      );
    }
  }
  return at(a.length, b.length);
}
