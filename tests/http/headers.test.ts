import { describe, expect, it } from "vitest";
import { as, type Called, SECRET } from "../support/app.ts";
import { expectProblem, NOBODY } from "../support/http-expect.ts";
import { declares, useApp } from "../support/http-setup.ts";

describe("headers", () => {
  const parts = useApp({ JWT_SECRET: SECRET, MAX_BODY_BYTES: "1000" });

  /** One request for every status that can be had without a failing provider, and what it must come to. */
  async function every(headers: Record<string, string> = {}): Promise<[number, Called][]> {
    const own = { ...(await as("ann")), ...headers };
    const { call, request } = parts.app;
    const { id } = (await call("POST", "/chats", undefined, own)).json;
    return [
      [200, await call("GET", "/", undefined, headers)],
      [200, await call("HEAD", "/health", undefined, headers)],
      [200, await call("GET", `/chats/${id}`, undefined, own)],
      [201, await call("POST", "/chats", {}, own)],
      [204, await call("DELETE", `/chats/${id}`, undefined, own)],
      [204, await call("OPTIONS", "/chats", undefined, headers)],
      [400, await call("POST", "/chats", "{", own)],
      [401, await call("GET", "/chats", undefined, headers)],
      [403, await call("GET", "/chats?user_id=bob", undefined, own)],
      [404, await call("GET", "/nowhere", undefined, own)],
      [404, await call("GET", `/chats/${NOBODY}`, undefined, own)],
      [405, await call("PUT", "/chats", {}, own)],
      [413, await call("POST", "/chats", { title: "x".repeat(1000) }, { ...own, "content-length": "1012" })],
      [415, await request("/chats", { method: "POST", body: "x", headers: { ...own, "content-type": "text/plain" } })],
      [422, await call("GET", "/chats?limit=0", undefined, own)],
    ];
  }

  it("carry the caller's X-Request-Id, whatever the answer is", async () => {
    for (const [status, called] of await every({ "x-request-id": "Trace_42-a=" })) {
      expect([called.status, called.headers.get("x-request-id")]).toEqual([status, "Trace_42-a="]);
      if (status >= 400) expect(called.json.request_id).toBe("Trace_42-a=");
    }
  });

  it("carry a new X-Request-Id for every request that has none", async () => {
    const ids = (await every()).map(([, called]) => called.headers.get("x-request-id"));
    for (const id of ids) expect(id).toMatch(/^[\w=-]{8,}$/);
    expect(new Set(ids).size).toBe(ids.length);
  });

  it.each(["", "x".repeat(256), "two words", '"><script>', "a;b", "{}", "caf\u00e9", "a\tb"])(
    "carry one of their own in place of the hostile X-Request-Id %j",
    async (hostile) => {
      const called = await parts.app.call("GET", "/nowhere", undefined, { "x-request-id": hostile });
      const id = called.headers.get("x-request-id");
      expect(id).toMatch(/^[\w=-]{8,255}$/);
      expect(called.json.request_id).toBe(id);
    },
  );

  it("keep a browser from making anything of an answer, and caches from keeping it, whatever it is", async () => {
    for (const [status, called] of await every()) {
      expect([called.status, Object.fromEntries(called.headers)]).toEqual([
        status,
        expect.objectContaining({
          "x-content-type-options": "nosniff",
          "x-frame-options": expect.stringMatching(/DENY|SAMEORIGIN/),
          "referrer-policy": "no-referrer",
          "content-security-policy": expect.stringContaining("default-src 'none'"),
          "cache-control": "no-store",
        }),
      ]);
    }
  });

  it("are a problem's for every error", async () => {
    const codes: Record<number, string> = {
      400: "malformed_json",
      401: "unauthorized",
      403: "forbidden",
      404: "not_found",
      405: "method_not_allowed",
      413: "payload_too_large",
      415: "unsupported_media_type",
      422: "validation_failed",
    };
    for (const [status, called] of await every()) {
      const code = codes[status];
      if (code) expectProblem(called, status, code);
      else expect(called.status).toBe(status);
    }
  });

  it("allow no other origin by default", async () => {
    for (const [, called] of await every({ origin: "https://app.example.com" })) {
      expect([...called.headers.keys()].filter((name) => name.startsWith("access-control-"))).toEqual([]);
    }
  });

  declares(parts);
});

describe("CORS", () => {
  const listed = ["https://app.example.com", "http://localhost:5173"];
  const asks = (origin: string) => ({
    origin,
    "access-control-request-method": "PATCH",
    "access-control-request-headers": "authorization,content-type",
  });
  const allowed = (called: Called) => called.headers.get("access-control-allow-origin");

  describe("for listed origins", () => {
    const parts = useApp({ ALLOWED_ORIGINS: listed.join(", "), JWT_SECRET: SECRET });

    it.each(listed)("lets %s read every answer, with credentials, errors too", async (origin) => {
      const seen = [
        await parts.app.call("GET", "/chats", undefined, { origin, ...(await as("ann")) }),
        await parts.app.call("GET", "/chats", undefined, { origin }),
        await parts.app.call("GET", "/nowhere", undefined, { origin, ...(await as("ann")) }),
        await parts.app.call("POST", "/chats", "{", { origin, ...(await as("ann")) }),
        await parts.app.call("PUT", "/chats", {}, { origin, ...(await as("ann")) }),
      ];
      expect(seen.map(({ status }) => status)).toEqual([200, 401, 404, 400, 405]);
      for (const called of seen) {
        expect(allowed(called)).toBe(origin);
        expect(called.headers.get("access-control-allow-credentials")).toBe("true");
        expect(called.headers.get("vary")).toMatch(/origin/i);
        expect(called.headers.get("access-control-expose-headers")).toMatch(/X-Request-Id/i);
      }
    });

    it.each(listed)("answers the preflight of %s without a token", async (origin) => {
      const preflight = await parts.app.call("OPTIONS", "/chats/x", undefined, asks(origin));
      expect(preflight.status).toBe(204);
      expect(allowed(preflight)).toBe(origin);
      const methods = preflight.headers.get("access-control-allow-methods")?.split(/, ?/) ?? [];
      const { paths } = (await parts.app.call("GET", "/openapi.json")).json;
      const taken = Object.values<object>(paths).flatMap((operations) => Object.keys(operations));
      expect(methods.toSorted()).toEqual([...new Set([...taken.map((name) => name.toUpperCase()), "HEAD"])].toSorted());
      expect(preflight.headers.get("access-control-allow-headers")).toMatch(/authorization/i);
      expect(preflight.headers.get("x-request-id")).toBeTruthy();
    });

    it.each(["https://evil.example.com", "https://app.example.com.evil.com", "http://app.example.com", "null"])(
      "lets %s read nothing",
      async (origin) => {
        expect(allowed(await parts.app.call("GET", "/", undefined, { origin }))).toBeNull();
        expect(allowed(await parts.app.call("OPTIONS", "/chats", undefined, asks(origin)))).toBeNull();
      },
    );

    declares(parts);
  });

  describe("for *", () => {
    const parts = useApp({ ALLOWED_ORIGINS: "*", JWT_SECRET: SECRET });

    it("lets everybody read, without credentials", async () => {
      const { call } = parts.app;
      const origin = "https://any.example.com";
      const seen = [
        await call("GET", "/", undefined, { origin }),
        await call("OPTIONS", "/chats", undefined, asks(origin)),
      ];
      for (const called of seen) {
        expect(allowed(called)).toBe("*");
        expect(called.headers.get("access-control-allow-credentials")).toBeNull();
      }
    });
  });
});
