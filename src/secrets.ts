/** Variables whose whole value is a secret. */
const WHOLE = ["JWT_SECRET", "OPENAI_API_KEY", "GROQ_API_KEY", "RUNPOD_API_KEY", "STREAM_SECRET"];
/** Addresses that may carry one: a password, or a key in the query. */
const ADDRESSES = [
  "DATABASE_URL",
  "REDIS_URL",
  "JWT_JWKS_URL",
  "OPENAI_BASE_URL",
  "GROQ_BASE_URL",
  "RUNPOD_BASE_URL",
  "STREAM_BASE_URL",
  "HTTP_PROXY",
  "HTTPS_PROXY",
];
/** Whatever is shorter stands in the middle of other words. */
const SHORTEST = 6;

/** What nobody may read, in every spelling in which something might show it. */
export function secretsIn(env: Record<string, string | undefined>): string[] {
  const whole = WHOLE.map((name) => env[name] ?? "");
  const inAddresses = ADDRESSES.flatMap((name) => secretsOf(env[name] ?? ""));
  const digests = env["API_KEYS"]?.match(/[0-9a-f]{64}/gi) ?? [];
  return [...new Set([...whole, ...inAddresses, ...digests])].filter((secret) => secret.length >= SHORTEST);
}

function secretsOf(address: string): string[] {
  // Of several hosts, or none, `URL` reads nothing at all.
  const url = URL.parse(address.replace(/@[^@/?#]*(?=[/?#]|$)/, "@host"));
  if (!url) return [];
  const written = /:\/\/[^:@/\s]*:(.+)@/.exec(address)?.[1] ?? "";
  return [url.password, decoded(url.password), written, ...url.searchParams.values()];
}

function decoded(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Cuts secrets out of text, also where it is inside a JSON string. */
export function hiding(secrets: readonly string[]): (text: string) => string {
  const spelled = new Set(secrets.flatMap((secret) => [secret, JSON.stringify(secret).slice(1, -1)]));
  const longestFirst = [...spelled].sort((a, b) => b.length - a.length);
  return (text) => longestFirst.reduce((rest, secret) => rest.replaceAll(secret, "…"), text);
}

/** One line of why something cannot be used; addresses carry passwords, so they are cut out. */
export function reasonOf(error: unknown): string {
  const text = error instanceof Error ? error.message || ("code" in error ? String(error.code) : error.name) : "";
  return (text.split("\n")[0] ?? "").replace(/\/\/\S*@/g, "//…@") || "cannot be used";
}
