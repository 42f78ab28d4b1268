import { afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import { tokenReader } from "../../src/http/tokens.ts";
import {
  halting,
  type IssuerKey,
  issuerKey,
  type KeyAnswer,
  type KeyServer,
  now,
  saying,
  sign,
  silent,
  startKeyServer,
} from "../support/http-keys.ts";

const MINUTE = 60_000;

let first: IssuerKey;
let second: IssuerKey;
let third: IssuerKey;
let fourth: IssuerKey;
beforeAll(async () => {
  [first, second, third, fourth] = await Promise.all([
    issuerKey("RS256", "first"),
    issuerKey("ES256", "second"),
    issuerKey("RS256", "third"),
    issuerKey("RS256", "fourth"),
  ]);
});

type World = {
  server: KeyServer;
  /** Whether a token that is signed by this key is believed; "503" where that cannot be said. */
  knows(key: IssuerKey, header?: { kid?: string }): Promise<boolean | "503">;
  logged: { fields: object; text: string }[];
};

async function givenServer(answer: KeyAnswer): Promise<World> {
  const server = await startKeyServer(answer);
  onTestFinished(() => server.close());
  const logged: World["logged"] = [];
  const log = { error: (fields: object, text: string) => void logged.push({ fields, text }) };
  const readToken = tokenReader(
    { JWT_SECRET: undefined, JWT_JWKS_URL: server.url, JWT_ISSUER: undefined, JWT_AUDIENCE: undefined },
    log as Parameters<typeof tokenReader>[1],
  );
  const knows: World["knows"] = async (key, { kid } = { kid: key.kid }) => {
    const header = { alg: key.alg, ...(kid !== undefined && { kid }) };
    const token = await sign({ sub: "ann", exp: now() + 3600 }, key.key, header);
    return readToken(token).then(
      (found) => found !== undefined,
      (error: { code?: string; details?: object }) => {
        expect(error).toMatchObject({ code: "issuer_unavailable", details: { retryAfterS: 5 } });
        return "503" as const;
      },
    );
  };
  return { server, knows, logged };
}

// The clock stands still, so that what is remembered for seconds is still, and time passes when a test says so.
beforeEach(() => void vi.useFakeTimers({ toFake: ["Date"], now: Date.now() }));
afterEach(() => void vi.useRealTimers());
const pass = (ms: number) => void vi.setSystemTime(Date.now() + ms);

describe("a key set", () => {
  it("is asked for once, however many tokens come", async () => {
    const { server, knows } = await givenServer([first.jwk, second.jwk]);
    const all = await Promise.all(Array.from({ length: 20 }, (_, i) => knows(i % 2 ? first : second)));
    expect(all.every(Boolean)).toBe(true);
    expect(await knows(first)).toBe(true);
    expect(server.asked()).toBe(1);
  });

  it("is asked again for a key that it did not have, and so learns of new ones", async () => {
    const { server, knows } = await givenServer([first.jwk]);
    expect(await knows(first)).toBe(true);
    server.answer([first.jwk, second.jwk]);
    pass(6_000);
    expect(await knows(second)).toBe(true);
    expect(await knows(first)).toBe(true);
    expect(server.asked()).toBe(2);
  });

  it("is not asked without end for keys that there are not", async () => {
    const { server, knows, logged } = await givenServer([first.jwk]);
    for (let i = 0; i < 30; i++) expect(await knows(second)).toBe(false);
    expect(server.asked()).toBe(1);
    pass(6_000);
    for (let i = 0; i < 30; i++) expect(await knows(second)).toBe(false);
    expect(server.asked()).toBe(2);
    expect(logged).toEqual([]);
  });

  it("of several keys finds the one that has signed a token without a kid", async () => {
    const { knows } = await givenServer([first.jwk, second.jwk, third.jwk]);
    expect(await Promise.all([first, second, third].map((key) => knows(key, {})))).toEqual([true, true, true]);
    expect(await knows(fourth, {})).toBe(false);
    const { knows: knowsOne } = await givenServer([first.jwk]);
    expect([await knowsOne(first, {}), await knowsOne(third, {})]).toEqual([true, false]);
  });

  it("forgets a key that was withdrawn, ten minutes later", async () => {
    const { server, knows } = await givenServer([first.jwk, second.jwk]);
    expect(await knows(first)).toBe(true);
    server.answer([second.jwk]);
    pass(9 * MINUTE);
    expect(await knows(first)).toBe(true);
    pass(2 * MINUTE);
    expect(await knows(first)).toBe(false);
    expect(await knows(second)).toBe(true);
  });
});

const failing: [string, () => KeyAnswer][] = [
  ["fails", () => saying(500, "{}")],
  ["refuses", () => saying(403, JSON.stringify({ keys: [third.jwk] }))],
  ["answers with a page", () => saying(200, "<html>Sign in</html>")],
  ["answers with null", () => saying(200, "null")],
  ["answers with something else", () => saying(200, '{"keys":{}}')],
  ["answers with keys that are none", () => saying(200, '{"keys":[1,"two",null]}')],
  ["leads elsewhere", () => saying(302, "", { location: "/elsewhere.json" })],
  ["hangs up", () => (request) => void request.socket.destroy()],
];

describe("while the key server", () => {
  it.each(failing)(
    "%s, keys that are known go on to be, others are told to come again, and the log says why once",
    async (_, broken) => {
      const { server, knows, logged } = await givenServer([first.jwk]);
      expect(await knows(first)).toBe(true);
      server.answer(broken());
      pass(11 * MINUTE);
      expect(await knows(first)).toBe(true);
      expect(await Promise.all([knows(third), knows(third), knows(first)])).toEqual(["503", "503", true]);
      expect(logged).toEqual([{ fields: { err: expect.any(Error) }, text: expect.stringContaining("JWT_JWKS_URL") }]);
    },
  );

  it.each(failing)(
    "%s from the start everybody is told to come again; once it answers, everybody is let in",
    async (_, broken) => {
      const { server, knows, logged } = await givenServer(broken());
      for (let i = 0; i < 5; i++) expect(await knows(third)).toBe("503");
      expect([server.asked(), logged.length]).toEqual([1, 1]);
      server.answer([third.jwk]);
      pass(6_000);
      expect(await knows(third)).toBe(true);
    },
  );

  it("is gone, keys that are known go on to be", async () => {
    const { server, knows, logged } = await givenServer([first.jwk]);
    expect(await knows(first)).toBe(true);
    await server.close();
    pass(11 * MINUTE);
    expect([await knows(first), await knows(second), await knows(first)]).toEqual([true, "503", true]);
    expect(logged).toHaveLength(1);
  });

  it("publishes a broken key beside a good one, the good one counts", async () => {
    const { knows } = await givenServer([{ kty: "RSA", kid: "third", alg: "RS256", n: "!", e: "!" }, first.jwk]);
    expect([await knows(third), await knows(first)]).toEqual([false, true]);
  });

  it("publishes null and other things beside keys, the keys count", async () => {
    const odd = [null, 1, "two", []] as unknown as IssuerKey["jwk"][];
    const { knows, logged } = await givenServer([...odd, first.jwk]);
    expect([await knows(first), await knows(third)]).toEqual([true, false]);
    expect(logged).toEqual([]);
  });

  it("is silent, or never ends its answer, nobody waits for long, and nobody after the first at all", async () => {
    await Promise.all(
      [silent, halting].map(async (broken) => {
        const { server, knows, logged } = await givenServer(broken);
        expect(await Promise.all([knows(first), knows(second), knows(first)])).toEqual(["503", "503", "503"]);
        expect(await knows(first)).toBe("503");
        expect([server.asked(), logged.length]).toEqual([1, 1]);
      }),
    );
  });
});
