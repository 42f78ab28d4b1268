import { beforeAll, describe, inject, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { PATIENT } from "../support/http-expect.ts";
import { type Provider, type Script, startProvider } from "../support/provider.ts";
import { openRaw, type Raw, RESPONSE, statusesOf } from "../support/raw.ts";
import { type Service, startImpatient, startService } from "../support/service.ts";
import { createGate } from "../support/stream-gate.ts";
import { readStream } from "../support/stream-reader.ts";

/** For headers far less than for a body, so that their order is clear on a busy machine too. */
const PATIENCE = { headers: 500, request: 12_000, idle: 1_000 };
/** As long as an answer may be; so many of them are more than the sockets take by themselves. */
const LONG_ONES = 5;
const LONG = "0123456789abcde\n".repeat(2 ** 18);
const STALLED = 500;
const PARTIAL_HEAD = "POST /chats HTTP/1.1\r\nHost: localhost\r\nX-A: a";
const POST = "POST /chats HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
const PARTIAL_BODY = `${POST}Content-Length: 100\r\n\r\n{"title":"never whole`;
const GET = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

/** Writes a byte every fifth of a second until the connection is over. */
async function trickle({ socket, over }: Raw, piece: string): Promise<string> {
  const drip = setInterval(() => void (socket.writable && socket.write(piece)), 200);
  return over.finally(() => clearInterval(drip));
}

describe.concurrent.each(["node", "bun"] as const)("on %s, a client", (runtime) => {
  let provider: Provider;
  let service: Service;
  const gate = createGate(["at ", "last"]);
  const scripts: Record<string, Script> = {
    patient: gate.script,
    long: { text: LONG.match(/[\s\S]{1,65536}/g) ?? [] },
  };
  beforeAll(async () => {
    provider = await startProvider();
    provider.behave(({ body }) => scripts[body.model] ?? {});
    service = await startImpatient(runtime, PATIENCE, {
      DATABASE_URL: `${inject("folder")}/slow-${runtime}.db`,
      OPENAI_BASE_URL: provider.openaiUrl,
    });
    return async () => {
      await service.end("SIGKILL");
      await provider.close();
    };
  });
  const open = (text: string) => openRaw(service.url, text);
  /** Resolves when a connection that is answered and then left alone was cut, so when patience has run out by itself. */
  const patienceIsOut = () => open(GET).over;
  const chatsCalled = async (title: string) => {
    const { chats } = (await service.call("GET", "/chats")).json;
    return chats.filter((chat: { title: string }) => chat.title === title);
  };

  it("that says nothing, or its headers byte by byte, is hung up on", async ({ expect }) => {
    const inItsBody = open(PARTIAL_BODY);
    const ends = await Promise.all([open("").over, open(PARTIAL_HEAD).over, trickle(open(PARTIAL_HEAD), "a")]);
    for (const end of ends.filter((text) => text !== "")) {
      expect(end).toMatch(RESPONSE);
      expect(statusesOf(end)).toEqual([408]);
    }
    if (runtime === "node") expect(inItsBody.socket.readyState).toBe("open"); // headers have a deadline of their own
    inItsBody.socket.destroy();
  });

  it("that stops in its body, or sends it byte by byte, is hung up on", async ({ expect }) => {
    const chunked = `${POST}Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n`;
    const ends = [open(PARTIAL_BODY).over, trickle(open(PARTIAL_BODY), "a"), trickle(open(chunked), "1\r\n \r\n")];
    for (const end of await Promise.all(ends)) expect([[], [400], [408]]).toContainEqual(statusesOf(end));
    expect(await chatsCalled("never whole")).toEqual([]);
    const levels = service.logged.map((line) => JSON.parse(line).level);
    expect(levels).not.toContain("error"); // what a client does is no failure of ours
  });

  it("may wait for its turn for longer than for anything else, plain or streamed", async ({ expect }) => {
    const model = "openai/patient";
    const plain = service.call("POST", "/api/chat/send", { message: "x", model });
    const body = { message: "x", model, stream: true };
    const stream = await readStream(service.url, { path: "/api/chat/send", body });
    await expect.poll(() => provider.busyWith("patient"), PATIENT).toBe(2);
    for (let times = 0; times < 2; times++) await patienceIsOut();
    gate.open();
    expect((await plain).json).toMatchObject({ message: "at last" });
    expect(await stream.over).toEqual({ whole: true });
    expect(stream.heard).toMatchObject({ text: "at last", end: { event: "turn.completed" } });
  });

  it("that keeps its connection after a turn is hung up on as any other", async ({ expect }) => {
    const head = POST.replace("/chats", "/api/chat/send");
    const kept = ["false", "true"].map((stream) => {
      const body = `{"message":"x","stream":${stream}}`;
      return open(`${head}Content-Length: ${body.length}\r\n\r\n${body}`).over;
    });
    for (const all of await Promise.all(kept)) {
      expect(statusesOf(all)).toEqual([200]);
      expect(all).toMatch(/Echo: x|turn\.completed/);
    }
  });

  it("that does not take a file is hung up on", async ({ expect }) => {
    const file = "GET /docs/swagger-ui.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    const whole = await (await fetch(`${service.url}/docs/swagger-ui.js`)).text();
    const reader = open(file.repeat(LONG_ONES * 2));
    reader.socket.pause();
    for (let times = 0; times < 3; times++) await patienceIsOut();
    reader.socket.resume();
    expect((await reader.over).length).toBeLessThan(LONG_ONES * 2 * whole.length);
  });

  it("that does not take its answer is hung up on", async ({ expect }) => {
    const long = { message: "x", model: "openai/long" };
    const { conversation_id } = (await service.call("POST", "/api/chat/send", long)).json;
    for (let n = 1; n < LONG_ONES; n++) await service.call("POST", "/api/chat/send", { ...long, conversation_id });
    const path = `/chats/${conversation_id}/messages`;
    const reader = open(`GET ${path} HTTP/1.1\r\nHost: localhost\r\n\r\n`);
    reader.socket.pause();
    for (let times = 0; times < 3; times++) await patienceIsOut();
    reader.socket.resume();
    const got = await reader.over;
    expect(statusesOf(got)).toEqual([200]);
    expect(got.length).toBeLessThan(LONG_ONES * LONG.length);
    expect(got.endsWith("0\r\n\r\n")).toBe(false); // half an answer does not look like a whole one
  });
});

describe.concurrent.each(["node", "bun"] as const)("on %s, a service", (runtime) => {
  const started = (name: string, env: Record<string, string> = {}) =>
    startService(runtime, { DATABASE_URL: `${inject("folder")}/${name}-${runtime}.db`, ...env });

  it("hangs up on a user that stops in a body", async ({ expect, onTestFinished }) => {
    const url = `${inject("folder")}/slow-known-${runtime}.db`;
    const env = { DATABASE_URL: url, JWT_SECRET: SECRET, HOST: "127.0.0.1" };
    const service = await startImpatient(runtime, { ...PATIENCE, request: 3_000 }, env);
    onTestFinished(async () => void (await service.end("SIGKILL")));
    const { authorization } = await as("alice");
    const partial = PARTIAL_BODY.replace("Host:", `Authorization: ${authorization}\r\nHost:`);
    for (const end of await Promise.all([
      openRaw(service.url, partial).over,
      trickle(openRaw(service.url, partial), "a"),
    ]))
      expect([[], [400], [408]]).toContainEqual(statusesOf(end));
  });

  it(`answers others while ${STALLED} clients are stalled`, async ({ expect, onTestFinished }) => {
    const service = await started("stalled");
    onTestFinished(async () => void (await service.end("SIGKILL")));
    const stalled = Array.from({ length: STALLED }, (_, i) =>
      openRaw(service.url, i % 2 === 0 ? PARTIAL_HEAD : PARTIAL_BODY),
    );
    await expect.poll(() => stalled.every(({ socket }) => socket.readyState === "open"), PATIENT).toBe(true);
    expect((await service.call("GET", "/health")).status).toBe(200);
    const sent = await service.call("POST", "/api/chat/send", { message: "still there?" });
    expect(sent.status).toBe(200);
    expect((await service.call("GET", `/chats/${sent.json.conversation_id}/messages`)).json).toHaveLength(2);
    expect(stalled.filter(({ socket }) => socket.readyState === "open")).toHaveLength(STALLED);
    for (const { socket } of stalled) socket.destroy();
  });

  it("takes no more at once than it may", async ({ expect, onTestFinished }) => {
    const provider = await startProvider();
    provider.behave(() => ({ headersAfter: Infinity }));
    const env = { MAX_CONNECTIONS: "3", OPENAI_BASE_URL: provider.openaiUrl };
    const service = await started("full", env);
    onTestFinished(async () => {
      await service.end("SIGKILL");
      await provider.close();
    });
    const body = '{"message":"x"}';
    const turn = `${POST.replace("/chats", "/api/chat/send")}Content-Length: ${body.length}\r\n\r\n${body}`;
    const waiting = Array.from({ length: 3 }, () => openRaw(service.url, turn));
    await expect.poll(() => provider.busy(), PATIENT).toBe(3);
    const ask = () => openRaw(service.url, GET.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n")).over;
    expect([[], [503]]).toContainEqual(statusesOf(await ask()));
    waiting[0]?.socket.destroy();
    await expect.poll(async () => statusesOf(await ask()), PATIENT).toEqual([200]);
    for (const { socket } of waiting) socket.destroy();
  });
});
