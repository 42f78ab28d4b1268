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
  signBy,
  silent,
  startKeyServer,
} from "../support/http-keys.ts";

const MINUTE = 60_000;
/** What a request may be kept, in milliseconds: two seconds of patience, and a machine that is busy. */
const BOUND_MS = 4_000;

let first: IssuerKey;
let second: IssuerKey;
let third: IssuerKey;
beforeAll(async () => {
  [first, second, third] = await Promise.all([
    issuerKey("RS256", "first"),
    issuerKey("ES256", "second"),
    issuerKey("RS256", "third"),
  ]);
});

type World = {
  server: KeyServer;
  /** Whether a token that is signed by this key is believed. */
  knows(key: IssuerKey): Promise<boolean>;
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
  const knows = async (key: IssuerKey) =>
    (await readToken(await signBy(key, { sub: "ann", exp: now() + 3600 }))) !== undefined;
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
    "%s, keys that are known go on to be, others are not let in, and the log says why once",
    async (_, broken) => {
      const { server, knows, logged } = await givenServer([first.jwk]);
      expect(await knows(first)).toBe(true);
      server.answer(broken());
      pass(11 * MINUTE);
      expect(await knows(first)).toBe(true);
      expect(await Promise.all([knows(third), knows(third), knows(first)])).toEqual([false, false, true]);
      expect(logged).toEqual([{ fields: { err: expect.any(Error) }, text: expect.stringContaining("JWT_JWKS_URL") }]);
    },
  );

  it.each(failing)("%s from the start nobody is let in; once it answers, everybody is", async (_, broken) => {
    const { server, knows, logged } = await givenServer(broken());
    for (let i = 0; i < 5; i++) expect(await knows(third)).toBe(false);
    expect([server.asked(), logged.length]).toEqual([1, 1]);
    server.answer([third.jwk]);
    pass(6_000);
    expect(await knows(third)).toBe(true);
  });

  it("is gone, keys that are known go on to be", async () => {
    const { server, knows, logged } = await givenServer([first.jwk]);
    expect(await knows(first)).toBe(true);
    await server.close();
    pass(11 * MINUTE);
    expect([await knows(first), await knows(second), await knows(first)]).toEqual([true, false, true]);
    expect(logged).toHaveLength(1);
  });

  it("publishes a broken key beside a good one, the good one counts", async () => {
    const { knows } = await givenServer([{ kty: "RSA", kid: "third", alg: "RS256", n: "!", e: "!" }, first.jwk]);
    expect([await knows(third), await knows(first)]).toEqual([false, true]);
  });

  it("is silent, or never ends its answer, nobody waits for long, and nobody after the first at all", async () => {
    await Promise.all(
      [silent, halting].map(async (broken) => {
        const { server, knows, logged } = await givenServer(broken);
        const started = performance.now();
        expect(await Promise.all([knows(first), knows(second), knows(first)])).toEqual([false, false, false]);
        const waited = performance.now();
        expect(waited - started).toBeLessThan(BOUND_MS);
        expect(await knows(first)).toBe(false);
        expect(performance.now() - waited).toBeLessThan(1_000);
        expect([server.asked(), logged.length]).toEqual([1, 1]);
      }),
    );
  });
});
