import { UnsecuredJWT } from "jose";
import { afterAll, afterEach, describe, expect, it, vi } from "vitest";
import { SECRET } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import {
  bearer,
  bytesOf,
  type Claims,
  type IssuerKey,
  issuerKey,
  now,
  saying,
  sign,
  signBy,
  startKeyServer,
} from "../support/http-keys.ts";
import { declares, useApp } from "../support/http-setup.ts";

const HOUR = 3600;
const [ISSUER, AUDIENCE] = ["https://issuer.example.com/", "parley"];
const SHARED = "a symmetric key that the issuer should not have published";

const [rsa, ec, foreignRsa, foreignEc] = await Promise.all([
  issuerKey("RS256", "rsa-1"),
  issuerKey("ES256", "ec-1"),
  issuerKey("RS256", "rsa-1"),
  issuerKey("ES256", "ec-1"),
]);
const oct = { kty: "oct", kid: "oct-1", alg: "HS256", use: "sig", k: Buffer.from(SHARED).toString("base64url") };
const keys = await startKeyServer([rsa.jwk, ec.jwk, oct]);
const theirs = await startKeyServer(saying(200, JSON.stringify({ keys: [foreignRsa.jwk] })));
afterAll(() => Promise.all([keys.close(), theirs.close()]));

const good = (): Claims => ({ iss: ISSUER, aud: AUDIENCE, sub: "ann", role: "user", exp: now() + HOUR });
const without = (name: string): Claims =>
  Object.fromEntries(Object.entries(good()).filter(([claim]) => claim !== name));

type Header = { alg?: string; [field: string]: unknown };
/** A kind of service, and how its issuer signs. */
type Kind = { kind: string; env: Record<string, string>; sign(claims: Claims, header?: Header): Promise<string> };

const checks = { JWT_ISSUER: ISSUER, JWT_AUDIENCE: AUDIENCE };
const bySecret = (claims: Claims, header: Header = {}) => sign(claims, bytesOf(SECRET), { alg: "HS256", ...header });
const byKey =
  (issuer: IssuerKey) =>
  (claims: Claims, header: Header = {}) =>
    sign(claims, issuer.key, { alg: issuer.alg, kid: issuer.kid, ...header });

const kinds: Kind[] = [
  { kind: "HS256 of a secret", env: { JWT_SECRET: SECRET, ...checks }, sign: bySecret },
  { kind: "RS256 of a key set", env: { JWT_JWKS_URL: keys.url, ...checks }, sign: byKey(rsa) },
  { kind: "ES256 of a key set", env: { JWT_JWKS_URL: keys.url, ...checks }, sign: byKey(ec) },
  { kind: "HS256 beside a key set", env: { JWT_SECRET: SECRET, JWT_JWKS_URL: keys.url, ...checks }, sign: bySecret },
  { kind: "RS256 beside a secret", env: { JWT_SECRET: SECRET, JWT_JWKS_URL: keys.url, ...checks }, sign: byKey(rsa) },
];

/** Tokens that the issuer has signed, of things that it should not say. */
const wrongClaims: Record<string, () => unknown> = {
  "no exp": () => without("exp"),
  "a text for an exp": () => ({ ...good(), exp: "never" }),
  "null for an exp": () => ({ ...good(), exp: null }),
  "an exp of an hour ago": () => ({ ...good(), exp: now() - HOUR }),
  "an nbf in an hour": () => ({ ...good(), nbf: now() + HOUR }),
  "a text for an nbf": () => ({ ...good(), nbf: "now" }),
  "no sub": () => without("sub"),
  "an object for a sub": () => ({ ...good(), sub: { id: "ann" } }),
  "a list for a sub": () => ({ ...good(), sub: ["ann"] }),
  "an empty sub": () => ({ ...good(), sub: "" }),
  "a sub of 256 characters": () => ({ ...good(), sub: "x".repeat(256) }),
  "half a surrogate pair for a sub": () => ({ ...good(), sub: "\ud83d" }),
  "an unknown role": () => ({ ...good(), role: "root" }),
  "an empty role": () => ({ ...good(), role: "" }),
  "null for a role": () => ({ ...good(), role: null }),
  "a list of roles": () => ({ ...good(), role: ["admin"] }),
  "the role of an open service": () => ({ ...good(), role: "open" }),
  "no issuer": () => without("iss"),
  "another issuer": () => ({ ...good(), iss: "https://issuer.example.org/" }),
  "an issuer without its slash": () => ({ ...good(), iss: ISSUER.slice(0, -1) }),
  "no audience": () => without("aud"),
  "another audience": () => ({ ...good(), aud: "parleys" }),
  "a list of other audiences": () => ({ ...good(), aud: ["one", "two"] }),
  "an empty list of audiences": () => ({ ...good(), aud: [] }),
  "no claims but a list": () => [good()],
  "no claims but a text": () => "ann",
};

/** Tokens that the issuer has not signed, or not so. */
const forged: Record<string, (kind: Kind) => Promise<string> | string> = {
  "alg none": () => new UnsecuredJWT(good()).encode(),
  "alg none, and the signature of another": (kind) => headed(kind, { alg: "none" }),
  "alg hs256 in small letters": (kind) => headed(kind, { alg: "hs256" }),
  "no alg": (kind) => headed(kind, {}),
  "the algorithm of a secret over the signature of a key": () => headed({ sign: byKey(rsa) }, { alg: "HS256" }),
  "the algorithm of a key over the signature of a secret": () =>
    headed({ sign: bySecret }, { alg: "RS256", kid: "rsa-1" }),
  "HS512 of the secret": () => sign(good(), bytesOf(SECRET), { alg: "HS512" }),
  "another secret": () => sign(good(), bytesOf(`${SECRET}!`), { alg: "HS256" }),
  "the symmetric key of the set": () => sign(good(), bytesOf(SHARED), { alg: "HS256", kid: "oct-1" }),
  "the RSA public key as a secret": () => sign(good(), bytesOf(rsa.pem), { alg: "HS256", kid: "rsa-1" }),
  "the RSA public key as a secret, without its last line end": () =>
    sign(good(), bytesOf(rsa.pem.trimEnd()), { alg: "HS256" }),
  "the RSA public key in bytes as a secret": () => sign(good(), derOf(rsa), { alg: "HS256", kid: "rsa-1" }),
  "the EC public key as a secret": () => sign(good(), bytesOf(ec.pem), { alg: "HS256", kid: "ec-1" }),
  "RS256 of another key with the same kid": () => signBy(foreignRsa, good()),
  "ES256 of another key with the same kid": () => signBy(foreignEc, good()),
  "RS256 of an unknown kid": () => sign(good(), foreignRsa.key, { alg: "RS256", kid: "rsa-2" }),
  "RS256 with the kid of the EC key": () => sign(good(), rsa.key, { alg: "RS256", kid: "ec-1" }),
  "a key of its own in the header": () =>
    sign(good(), foreignRsa.key, { alg: "RS256", kid: "mine", jwk: foreignRsa.jwk }),
  "the address of keys of its own in the header": () =>
    sign(good(), foreignRsa.key, { alg: "RS256", kid: "rsa-1", jku: theirs.url }),
  "a critical header that nobody knows": (kind) => headed(kind, { alg: "RS256", crit: ["x"], x: 1 }),
  "a signature cut off": async (kind) => (await kind.sign(good())).replace(/[^.]+$/, ""),
  "a signature cut short": async (kind) => (await kind.sign(good())).slice(0, -4),
  "claims changed after the signing": async (kind) => {
    const [head, , signature] = (await kind.sign(good())).split(".");
    return [head, encoded({ ...good(), role: "admin" }), signature].join(".");
  },
};

const encoded = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const derOf = ({ pem }: IssuerKey) => Buffer.from(pem.replace(/-----[^-]+-----|\s/g, ""), "base64");

/** A good token under another header than it was signed with. */
async function headed(kind: Pick<Kind, "sign">, header: object): Promise<string> {
  const [, ...rest] = (await kind.sign(good())).split(".");
  return [encoded(header), ...rest].join(".");
}

describe.each(kinds)("a service that takes $kind", (kind) => {
  const parts = useApp(kind.env);
  const list = (token: string) => parts.app.call("GET", "/chats", undefined, bearer(token));
  const statusOf = async (claims: Claims) => (await list(await kind.sign(claims))).status;
  afterEach(() => void vi.useRealTimers());

  it("lets in whom the issuer vouches for, as each role, and as a user where it names none", async () => {
    expect(await statusOf(without("role"))).toBe(200);
    for (const role of ["user", "agent", "admin"]) expect(await statusOf({ ...good(), role })).toBe(200);
    expect(await statusOf({ ...good(), aud: ["elsewhere", AUDIENCE] })).toBe(200);
    const made = await parts.app.call("POST", "/chats", {}, bearer(await kind.sign(good())));
    expect(made.json.user_id).toBe("ann");
  });

  it("lets a clock be five seconds off, and no more", async () => {
    vi.useFakeTimers({ toFake: ["Date"], now: Date.now() });
    expect(await statusOf({ ...good(), exp: now() - 4 })).toBe(200);
    expect(await statusOf({ ...good(), exp: now() - 7 })).toBe(401);
    expect(await statusOf({ ...good(), nbf: now() + 4 })).toBe(200);
    expect(await statusOf({ ...good(), nbf: now() + 7 })).toBe(401);
  });

  it.each(Object.entries(wrongClaims))("turns away a token with %s", async (_, claims) => {
    const away = await list(await kind.sign(claims() as Claims));
    expectProblem(away, 401, "unauthorized");
    expect(away.headers.get("www-authenticate")).toMatch(/^Bearer/);
  });

  it.each(Object.entries(forged))("turns away %s, and asks no server that a token names", async (_, forge) => {
    expectProblem(await list(await forge(kind)), 401, "unauthorized");
    expect(theirs.asked()).toBe(0);
  });

  it("says the same of all of them", async () => {
    const tokens = await Promise.all([
      ...Object.values(wrongClaims).map((claims) => kind.sign(claims() as Claims)),
      ...Object.values(forged).map((forge) => forge(kind)),
    ]);
    const details = await Promise.all(tokens.map(async (token) => (await list(token)).json.detail));
    expect(new Set(details).size).toBe(1);
  });

  declares(parts);
});
