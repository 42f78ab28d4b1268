import { Hono } from "hono";
import { describe, expect, it } from "vitest";
import type { Principal } from "../../src/core/identity.ts";
import { jsonBody } from "../../src/http/body.ts";
import { boundBodies } from "../../src/http/body-budget.ts";
import type { HttpEnv } from "../../src/http/env.ts";
import { problemHandler } from "../../src/http/problems.ts";

const MOST = 2 ** 24;
const USER = { role: "user", userId: "alice" } as const satisfies Principal;

/** Something that reads JSON bodies of 16 MiB at most: 64 MiB together, of which a caller has a quarter, so one body. */
function reader({ by, unknownMs }: { by?: Principal; unknownMs?: number } = {}) {
  const app = new Hono<HttpEnv>();
  app.onError(problemHandler({ error: () => {} }));
  app.use(async (c, next) => {
    const userId = c.req.header("x-user-id");
    const principal = userId === undefined ? by : ({ role: "user", userId } as const);
    if (principal) c.set("principal", principal);
    await next();
  });
  app.use(boundBodies({ most: MOST, proxies: 1, ...(unknownMs !== undefined && { unknownMs }) }), ...jsonBody(MOST));
  app.post("/", async (c) => c.json({ read: (await c.req.json()).said }));
  return async (body: RequestInit["body"], headers: Record<string, string> = {}): Promise<Response> => {
    const length = { "content-length": String(MOST) };
    const all = { "content-type": "application/json", ...("transfer-encoding" in headers ? {} : length), ...headers };
    return app.request("/", { method: "POST", headers: all, body: body ?? null, duplex: "half" } as RequestInit);
  };
}

/** A body whose end is sent when the test says so. */
function slowBody() {
  const { readable, writable } = new TransformStream<Uint8Array, Uint8Array>();
  const writer = writable.getWriter();
  void writer.write(new TextEncoder().encode('{"said":'));
  const end = async () => {
    await writer.write(new TextEncoder().encode('"all"}'));
    await writer.close();
  };
  return { readable, end };
}

const refused = async (response: Promise<Response>) => {
  const { status, headers } = await response;
  return { status, retry: headers.get("retry-after"), connection: headers.get("connection") };
};

const OVERLOADED = { status: 503, retry: "1", connection: "close" };

describe("bodies on their way", () => {
  const from = (address: string) => ({ "x-forwarded-for": address });

  it("of one address have their part of the room, and give it back once they are read", async () => {
    const send = reader();
    const slow = slowBody();
    const first = send(slow.readable, from("192.0.2.1"));
    expect(await refused(send('{"said":"x"}', from("192.0.2.1")))).toEqual(OVERLOADED);
    expect((await send('{"said":"x"}', from("192.0.2.2"))).status).toBe(200);
    await slow.end();
    expect(await (await first).json()).toEqual({ read: "all" });
    expect((await send('{"said":"x"}', from("192.0.2.1"))).status).toBe(200);
  });

  it("of all whom nobody knows have a room together, in which nobody stands who is known", async () => {
    const send = reader();
    const slow = [1, 2, 3, 4].map((i) => ({ ...slowBody(), address: `192.0.2.${i}` }));
    const answers = slow.map(({ readable, address }) => send(readable, from(address)));
    expect(await refused(send('{"said":"x"}', from("192.0.2.5")))).toEqual(OVERLOADED);
    expect((await send('{"said":"x"}', { ...from("192.0.2.5"), "x-user-id": "alice" })).status).toBe(200);
    await Promise.all(slow.map(({ end }) => end()));
    for (const answer of answers) expect((await answer).status).toBe(200);
  });

  it("of one user have a part of the room for known ones", async () => {
    const send = reader({ by: USER });
    const slow = slowBody();
    const first = send(slow.readable);
    expect(await refused(send('{"said":"x"}'))).toEqual(OVERLOADED);
    expect((await send('{"said":"x"}', { "x-user-id": "bob" })).status).toBe(200);
    await slow.end();
    expect((await first).status).toBe(200);
  });

  it("take as much as they may have, where they do not say how much that is", async () => {
    const send = reader({ by: USER });
    const slow = slowBody();
    const first = send(slow.readable, { "transfer-encoding": "chunked" });
    expect(await refused(send('{"said":"x"}', { "content-length": "12" }))).toEqual(OVERLOADED);
    await slow.end();
    expect((await first).status).toBe(200);
  });

  it("are not waited for without end, where nobody knows the sender", async () => {
    const send = reader({ unknownMs: 1 });
    const { readable } = slowBody();
    expect(await refused(send(readable))).toEqual({ status: 408, retry: null, connection: "close" });
    expect((await send('{"said":"x"}')).status).toBe(200); // its room is free again
  });
});
