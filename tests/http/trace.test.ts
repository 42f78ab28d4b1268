import { describe, expect, it } from "vitest";
import { useApp } from "../support/http-setup.ts";
import { openStream } from "../support/http-stream.ts";

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const OTHER = "0af7651916cd43dd8448eb211c80319c";
const SPAN = "00f067aa0ba902b7";
const STATE = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7";
const traced = (trace = TRACE, flags = "01") => ({ traceparent: `00-${trace}-${SPAN}-${flags}`, tracestate: STATE });

describe("a trace", () => {
  const parts = useApp({ MODELS: "two=openai/first,openai/second" });
  const send = (body: object, headers: object = {}) =>
    parts.app.call("POST", "/api/chat/send", { message: "Hello", ...body }, { ...headers });
  /** What the provider was told of traces since `from`, in the order in which it was asked. */
  const told = (from: number) =>
    parts.provider.asked
      .slice(from)
      .map(({ headers }) => ({ of: headers["traceparent"], state: headers["tracestate"] }));
  const goesOn = (trace: string, flags: string) => ({
    of: expect.stringMatching(new RegExp(`^00-${trace}-(?!${SPAN})[0-9a-f]{16}-${flags}$`)),
    state: STATE,
  });

  it.each(["00", "01"])("reaches the provider, sampled or not: %s", async (flags) => {
    const from = parts.provider.asked.length;
    expect((await send({}, traced(TRACE, flags))).status).toBe(200);
    expect(told(from)).toEqual([goesOn(TRACE, flags)]);
  });

  it("has another span at each attempt", async () => {
    parts.provider.behave(({ body }) => (body.model === "first" ? { status: 401 } : {}));
    const from = parts.provider.asked.length;
    expect((await send({ model: "two" }, traced())).status).toBe(200);
    expect(told(from)).toEqual([goesOn(TRACE, "01"), goesOn(TRACE, "01")]);
    expect(new Set(told(from).map(({ of }) => of)).size).toBe(2);
  });

  it("is each turn's own, in line and when nobody listens any more", async () => {
    let go = () => {};
    const held = new Promise<void>((resolve) => {
      go = resolve;
    });
    const { conversation_id } = (await send({})).json;
    parts.provider.behave(() => ({ before: () => held }));
    const from = parts.provider.asked.length;
    const begin = async (headers: object) => {
      const body = { conversation_id, message: "Hello", stream: true };
      const stream = await openStream(parts.app, "POST", "/api/chat/send", body, { ...headers });
      await stream.until("turn.started");
      await stream.leave();
    };
    await begin(traced(TRACE));
    await begin({});
    await begin(traced(OTHER));
    go();
    await expect.poll(() => told(from).length).toBe(3);
    expect(told(from)).toEqual([goesOn(TRACE, "01"), { of: undefined, state: undefined }, goesOn(OTHER, "01")]);
  });

  it("is that of the request which asks for another answer", async () => {
    await send({ message: "Once more" });
    const { conversation_id } = (await send({})).json;
    const messages = (await parts.app.call("GET", `/chats/${conversation_id}/messages`)).json;
    const from = parts.provider.asked.length;
    const path = `/api/v1/messages/${messages.at(-1).id}/regenerate`;
    expect((await parts.app.call("POST", path, {}, traced())).status).toBe(200);
    expect(told(from)).toEqual([goesOn(TRACE, "01")]);
  });

  it("is that of the request which tries again by its key", async () => {
    const key = { "idempotency-key": "again" };
    parts.provider.behave(() => ({ status: 400 }));
    expect((await send({}, { ...key, ...traced(OTHER) })).status).toBe(502);
    parts.provider.behave(() => ({}));
    const from = parts.provider.asked.length;
    expect((await send({}, { ...key, ...traced(TRACE) })).status).toBe(200);
    expect(told(from)).toEqual([goesOn(TRACE, "01")]);
  });

  it.each<[string, object]>([
    ["missing", {}],
    ["malformed", { ...traced(), traceparent: `00-${TRACE}-${SPAN}` }],
    ["given twice", { ...traced(), traceparent: `00-${TRACE}-${SPAN}-01, 00-${OTHER}-${SPAN}-01` }],
    ["a state without a trace", { tracestate: STATE }],
  ])("is not made up where it is %s, and the request is answered all the same", async (_, headers) => {
    const from = parts.provider.asked.length;
    expect((await send({}, headers)).status).toBe(200);
    expect(told(from)).toEqual([{ of: undefined, state: undefined }]);
  });
});
