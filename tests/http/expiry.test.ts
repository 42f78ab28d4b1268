import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { whenExpired } from "../../src/http/expiry.ts";
import { as, SECRET } from "../support/app.ts";
import { expectProblem, PATIENT } from "../support/http-expect.ts";
import { bearer, bytesOf, issuerKey, now, sign, signBy, silent, startKeyServer } from "../support/http-keys.ts";
import { declares, useApp } from "../support/http-setup.ts";

/** A token that is taken for a second or two more: clocks may be five seconds apart. */
const expiring = async (sub: string, role = "user") =>
  bearer(await sign({ sub, role, exp: now() - 3 }, bytesOf(SECRET), { alg: "HS256" }));

/** The names of the events of a stream that has ended, and the id of the last that has one. */
function eventsOf(text: string) {
  const names = [...text.matchAll(/^event: (.*)$/gm)].map(([, name]) => name);
  return { names, lastId: [...text.matchAll(/^id: (.*)$/gm)].at(-1)?.[1] };
}

describe("a stream", () => {
  const parts = useApp({ JWT_SECRET: SECRET });
  const call: typeof parts.app.call = (...args) => parts.app.call(...args);

  it("of a session ends with its token and says so; with a new one it goes on behind its last event", async () => {
    const { id } = (await call("POST", "/api/v1/sessions", {}, await as("ann"))).json;
    const post = { content: "x", sender_type: "user", sender_id: "ann" };
    await call("POST", `/api/v1/sessions/${id}/messages`, post, await as("ann"));
    const ended = await call("GET", `/api/v1/sessions/${id}/events`, undefined, await expiring("ann"));
    const { names, lastId } = eventsOf(ended.text);
    expect(names).toEqual(["session", "message", "token.expired"]);
    expect(ended.text).toMatch(/event: token\.expired\ndata: \{"detail":".*"\}\n\n$/);
    expectProblem(await call("GET", "/chats", undefined, await spent("ann")), 401, "unauthorized");
    await call("POST", `/api/v1/sessions/${id}/messages`, post, await as("ann"));
    const again = await call("GET", `/api/v1/sessions/${id}/events`, undefined, {
      ...(await expiring("ann")),
      "last-event-id": lastId ?? "",
    });
    expect(eventsOf(again.text).names).toEqual(["session", "message", "token.expired"]);
  });
  const spent = async (sub: string) => bearer(await sign({ sub, exp: now() - 6 }, bytesOf(SECRET), { alg: "HS256" }));

  it("of an agent's desk ends with its token", async () => {
    const desk = await call("GET", "/api/v1/agents/eve/events", undefined, await expiring("eve", "agent"));
    expect(eventsOf(desk.text).names).toEqual(["token.expired"]);
  });

  it("of a turn ends with its token, and the turn goes on", async () => {
    const { promise: streamEnded, resolve: goOn } = Promise.withResolvers<void>();
    parts.provider.behave(() => ({ text: ["one ", "two"], before: async (i) => i === 0 || streamEnded }));
    const sent = { message: "x", stream: true };
    const { text } = await call("POST", "/api/chat/send", sent, await expiring("ann"));
    goOn();
    const { names } = eventsOf(text);
    expect([names[0], names.at(-1)]).toEqual(["turn.started", "token.expired"]);
    expect(names).not.toContain("turn.completed");
    const turn = /"turn_id":"([^"]+)"/.exec(text)?.[1];
    const ann = await as("ann");
    await expect
      .poll(async () => (await call("GET", `/api/v1/turns/${turn}`, undefined, ann)).json.status, PATIENT)
      .toBe("completed");
  });

  declares(parts);
});

describe("whoever holds a token", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());
  const held = (lastsMs: number, isValid = async () => true) => {
    const over = vi.fn();
    return { over, stop: whenExpired({ expiresAt: Date.now() + lastsMs, isValid }, over) };
  };

  it("is told once it has expired, and not before, however long that is", async () => {
    const { over } = held(40 * 24 * 3_600_000);
    await vi.advanceTimersByTimeAsync(40 * 24 * 3_600_000 - 1);
    expect(over).not.toHaveBeenCalled();
    await vi.advanceTimersByTimeAsync(3_600_000);
    expect(over).toHaveBeenCalledOnce();
  });

  it("is told within a minute once its key is withdrawn, and not while nobody can say", async () => {
    let answer: () => Promise<boolean> = async () => Promise.reject(new Error("the issuer is away"));
    const { over } = held(3_600_000, () => answer());
    await vi.advanceTimersByTimeAsync(300_000);
    expect(over).not.toHaveBeenCalled();
    answer = async () => false;
    await vi.advanceTimersByTimeAsync(60_000);
    expect(over).toHaveBeenCalledOnce();
  });

  it("is told nothing after it has stopped asking", async () => {
    const { over, stop } = held(1_000);
    stop();
    await vi.advanceTimersByTimeAsync(10_000);
    expect(over).not.toHaveBeenCalled();
  });
});

describe("while an issuer cannot be reached", async () => {
  const [server, key] = [await startKeyServer(silent), await issuerKey("RS256", "one")];
  const parts = useApp({ JWT_JWKS_URL: server.url, JWT_SECRET: SECRET });

  it("its tokens are answered 503 with Retry-After, and once it is back they are taken", async () => {
    const headers = bearer(await signBy(key, { sub: "ann", exp: now() + 3600 }));
    const refused = await parts.app.call("GET", "/chats", undefined, headers);
    expectProblem(refused, 503, "issuer_unavailable");
    expect(refused.headers.get("retry-after")).toBe("5");
    expect((await parts.app.call("GET", "/chats", undefined, await as("ann"))).status).toBe(200);
    expectProblem(await parts.app.call("GET", "/chats", undefined, bearer("no.to.ken")), 401, "unauthorized");
    expect((await parts.app.call("GET", "/health", undefined, headers)).status).toBe(200);
    server.answer([key.jwk]);
    const later = vi.spyOn(Date, "now").mockReturnValue(Date.now() + 6_000);
    expect((await parts.app.call("GET", "/chats", undefined, headers)).status).toBe(200);
    later.mockRestore();
    await server.close();
  });

  declares(parts);
});
