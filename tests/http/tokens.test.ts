import { SignJWT, UnsecuredJWT } from "jose";
import { describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { expectProblem } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

type Claims = Record<string, unknown>;
const HOUR = 3600;
const now = () => Math.floor(Date.now() / 1000);
const good = (): Claims => ({ sub: "ann", role: "user", exp: now() + HOUR });

const signed = (claims: Claims, { alg = "HS256", secret = SECRET } = {}) =>
  new SignJWT(claims).setProtectedHeader({ alg }).sign(new TextEncoder().encode(secret));
const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

describe("a closed service", () => {
  const parts = useApp({ JWT_SECRET: SECRET });
  const list = (headers: Record<string, string>) => parts.app.call("GET", "/chats", undefined, headers);

  it.each([
    ["the least it may hold", () => ({ sub: "ann", exp: now() + HOUR })],
    ["a sub of 255 characters", () => ({ ...good(), sub: "x".repeat(255) })],
    ["claims that are not ours", () => ({ ...good(), iss: "elsewhere", aud: "someone", scope: "x" })],
    ["each role: user", good],
    ["each role: agent", () => ({ ...good(), role: "agent" })],
    ["each role: admin", () => ({ ...good(), role: "admin" })],
  ])("takes a token with %s", async (_, claims) => {
    expect((await list(bearer(await signed(claims())))).status).toBe(200);
  });

  const { exp: _exp, ...endless } = good();
  const { sub: _sub, ...nameless } = good();
  const refused: [string, () => Promise<Record<string, string>>][] = [
    ["no token", async () => ({})],
    ["an empty header", async () => ({ authorization: "" })],
    ["another scheme", async () => ({ authorization: `Basic ${btoa("ann:pass")}` })],
    ["a bare token", async () => ({ authorization: await signed(good()) })],
    ["garbage", async () => bearer("garbage")],
    ["three parts of garbage", async () => bearer("a.b.c")],
    ["two tokens", async () => bearer(`${await signed(good())} ${await signed(good())}`)],
    ["a token that has expired", async () => bearer(await signed({ ...good(), exp: now() - HOUR }))],
    ["a token that is not valid yet", async () => bearer(await signed({ ...good(), nbf: now() + HOUR }))],
    ["no exp", async () => bearer(await signed(endless))],
    ["an exp that is no number", async () => bearer(await signed({ ...good(), exp: "never" }).catch(() => "x"))],
    ["no sub", async () => bearer(await signed(nameless))],
    ["an object for a sub", async () => bearer(await signed({ ...good(), sub: { id: "ann" } }))],
    ["a number for a sub", async () => bearer(await signed({ ...good(), sub: 7 }))],
    ["an empty sub", async () => bearer(await signed({ ...good(), sub: "" }))],
    ["a sub of 256 characters", async () => bearer(await signed({ ...good(), sub: "x".repeat(256) }))],
    ["a sub with U+0000", async () => bearer(await signed({ ...good(), sub: "a\0b" }))],
    ["an unknown role", async () => bearer(await signed({ ...good(), role: "root" }))],
    ["a list of roles", async () => bearer(await signed({ ...good(), role: ["admin"] }))],
    ["the role of an open service", async () => bearer(await signed({ ...good(), role: "open" }))],
    ["another secret", async () => bearer(await signed(good(), { secret: `${SECRET}!` }))],
    ["HS512", async () => bearer(await signed(good(), { alg: "HS512" }))],
    ["alg none", async () => bearer(new UnsecuredJWT(good()).encode())],
    ["a signature cut off", async () => bearer((await signed(good())).replace(/[^.]+$/, ""))],
    ["claims changed after the signing", async () => bearer(await tampered())],
  ];

  async function tampered(): Promise<string> {
    const [head, , signature] = (await signed(good())).split(".");
    return [head, Buffer.from(JSON.stringify({ ...good(), role: "admin" })).toString("base64url"), signature].join(".");
  }

  it.each(refused)("turns away %s, and says how to come in", async (_, headers) => {
    for (const [method, path] of [
      ["GET", "/chats"],
      ["POST", "/api/chat/send"],
    ] as const) {
      const away = await parts.app.call(
        method,
        path,
        method === "POST" ? { message: "x" } : undefined,
        await headers(),
      );
      expectProblem(away, 401, "unauthorized");
      expect(away.headers.get("www-authenticate")).toMatch(/^Bearer/);
    }
    expect(parts.provider.asked).toEqual([]);
  });

  it("does not tell which part of a token it did not like", async () => {
    const details = new Set<string>();
    for (const [name, headers] of refused.slice(4)) {
      if (name !== "two tokens") details.add((await list(await headers())).json.detail);
    }
    expect(details.size).toBe(1);
  });

  it("is not talked into a user by X-User-Id or by user_id", async () => {
    expectProblem(await list({ "x-user-id": "ann" }), 401, "unauthorized");
    expectProblem(await parts.app.call("GET", "/chats?user_id=ann"), 401, "unauthorized");
    const ann = (await parts.app.call("POST", "/chats", undefined, { ...(await as("ann")), "x-user-id": "bob" })).json;
    expect(ann.user_id).toBe("ann");
  });

  it.each(["/", "/health", "/health/live", "/health/ready", "/api/v1/health", "/openapi.json"])(
    "shows %s to everybody, with a slash at the end or none",
    async (path) => {
      const paths = path === "/" ? [path] : [path, `${path}/`];
      const seen = await Promise.all(paths.map((one) => parts.app.call("GET", one)));
      expect(seen.map(({ status }) => status)).toEqual(paths.map(() => 200));
      expect((await parts.app.call("HEAD", path)).status).toBe(200);
    },
  );

  it("shows nothing else: every other route there is wants a token", async () => {
    const open = /^\/($|health|docs|redoc|api\/v1\/health$|openapi\.json$)/;
    const routes = parts.app.parley.app.routes.filter(({ method, path }) => method !== "ALL" && !open.test(path));
    expect(routes.length).toBeGreaterThan(8);
    for (const { method, path } of routes) {
      const body = method === "GET" || method === "DELETE" ? undefined : {};
      expectProblem(await parts.app.call(method, path.replaceAll(/:\w+/g, "x"), body), 401, "unauthorized");
    }
  });

  declares(parts);
});
