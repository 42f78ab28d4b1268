import { variables } from "./config.ts";
import type { Secret } from "./config-values.ts";

/** Whatever is shorter stands in the middle of other words. */
const SHORTEST = 6;

/** What of a variable's value is secret, in every spelling in which something might show it. */
const SPELLINGS: Record<Secret, (value: string) => string[]> = {
  whole: (value) => [value, value.trim()],
  "signing key": spellingsOfKey,
  "in the address": secretsOf,
  digests: (value) => value.match(/[0-9a-f]{64}/gi) ?? [],
};

/** The environment's own, which are no variables of ours: a proxy may want a password. */
const PROXIES = ["HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"];

/** What nobody may read of these variables. */
export function secretsIn(env: Record<string, string | undefined>): string[] {
  const found = variables.flatMap(({ name, secret }) => (secret ? SPELLINGS[secret](env[name] ?? "") : []));
  found.push(...PROXIES.flatMap((name) => secretsOf(env[name] ?? "")));
  return [...new Set(found)].filter((secret) => secret.length >= SHORTEST);
}

/** `whsec_` and base64, without that prefix, and the bytes that it means. */
function spellingsOfKey(value: string): string[] {
  const text = value.trim();
  const encoded = /^whsec_(.+)$/.exec(text)?.[1];
  if (encoded === undefined) return [value, text];
  const key = Buffer.from(encoded, "base64");
  return [text, encoded, key.toString("utf8"), key.toString("latin1"), key.toString("hex"), key.toString("base64url")];
}

function secretsOf(address: string): string[] {
  // Of several hosts, or none, `URL` reads nothing at all.
  const url = URL.parse(address.replace(/@[^@/?#]*(?=[/?#]|$)/, "@host"));
  if (!url) return [];
  const written = /:\/\/[^:@/\s]*:(.+)@/.exec(address)?.[1] ?? "";
  const inQuery = [...url.searchParams.values()];
  return [url.password, decoded(url.password), written, ...inQuery, ...inQuery.map(encodeURIComponent)];
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
  // An address that we show as an example stays as it is.
  return (text.split("\n")[0] ?? "").replace(/\/\/(?!user:password@host\b)\S*@/g, "//…@") || "cannot be used";
}
