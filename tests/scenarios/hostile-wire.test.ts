import { beforeAll, describe, expect, inject, it, onTestFinished } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { openRaw, RESPONSE, statusesOf } from "../support/raw.ts";
import { type Service, startService } from "../support/service.ts";

const CLOSE = "Connection: close\r\n";
const JSON_TYPE = "Content-Type: application/json\r\n";
const TITLE = '{"title":"x"}';
const SECOND = `DELETE /chats HTTP/1.1\r\nHost: localhost\r\n${CLOSE}\r\n`;

/** A request whose end two servers might see at different places. */
const smuggled: [string, string][] = [
  ["both lengths", `Content-Length: ${TITLE.length}\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n`],
  ["both lengths, turned about", `Transfer-Encoding: chunked\r\nContent-Length: 4\r\n\r\n0\r\n\r\n`],
  ["two lengths", `Content-Length: ${TITLE.length}\r\nContent-Length: 2\r\n\r\n${TITLE}`],
  ["a list of lengths", `Content-Length: ${TITLE.length}, 2\r\n\r\n${TITLE}`],
  ["a negative length", `Content-Length: -1\r\n\r\n${TITLE}`],
  ["a signed length", `Content-Length: +${TITLE.length}\r\n\r\n${TITLE}`],
  ["a length in hex", `Content-Length: 0xd\r\n\r\n${TITLE}`],
  ["a length beyond all numbers", `Content-Length: ${"9".repeat(30)}\r\n\r\n${TITLE}`],
  ["an unknown coding", "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n"],
  ["a coding that is not last", "Transfer-Encoding: chunked, identity\r\n\r\n0\r\n\r\n"],
  ["two codings", "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n0\r\n\r\n"],
  ["a coding behind a control byte", "Transfer-Encoding: \vchunked\r\n\r\n0\r\n\r\n"],
  ["a space before the colon", "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n"],
  ["a chunk without a size", `Transfer-Encoding: chunked\r\n\r\nzz\r\n${TITLE}\r\n0\r\n\r\n`],
  ["a negative chunk", `Transfer-Encoding: chunked\r\n\r\n-d\r\n${TITLE}\r\n0\r\n\r\n`],
  ["a chunk longer than it says", `Transfer-Encoding: chunked\r\n\r\n3\r\n${TITLE}\r\n0\r\n\r\n`],
  ["bare line feeds in chunks", `Transfer-Encoding: chunked\r\n\r\nd\n${TITLE}\n0\n\n`],
  ["a folded header", `X-A: a\r\n b\r\nContent-Length: ${TITLE.length}\r\n\r\n${TITLE}`],
  ["a bare CR in a header", `X-A: a\rTransfer-Encoding: chunked\r\nContent-Length: ${TITLE.length}\r\n\r\n${TITLE}`],
  ["a bare LF in a header", `X-A: a\nTransfer-Encoding: chunked\r\nContent-Length: ${TITLE.length}\r\n\r\n${TITLE}`],
];

/** Request targets that mean something else than they look like. */
const targets = [
  ...["/chats", "/chats/", "/chats/ID", "/chats/../health", "/health/../chats", "/health/%2e%2e/chats", "/%63hats"],
  ...["/health/..%2fchats", "/health%2f..%2fchats", "//chats", "///health", "/chats//", "/./chats/./ID", "/chats;x"],
  ...["/chats/%00", "/chats/%ff", "/chats/%", "/chats/%zz", "/chats/%c0%ae%c0%ae", "/chats%2f..", "/%2563hats"],
  ...["/chats;/../health", "/health;/../chats", "/health\\..\\chats", "/chats\\..\\health", "/chats%5c..", "/HEALTH"],
  ...["/docs/../chats", "/docs/..%2f..%2fchats", "/docs/%2e%2e%2f.env", "/openapi.json%00", "/openapi.json/../chats"],
  ...["/health%20", "/health%0a", "/chats%3fx", "/chats#x", "/chats?x#/health", "/ch\xe9ts", "/chats\x7f", "*"],
  ...["http://evil.example/chats", "http://evil.example/health/../chats", "https://a:b@localhost/chats/ID"],
  ...["ftp://evil.example/chats", "evil.example/chats", "localhost:80", "", "/api/v1/health/../chats"],
  ...[`/chats/${"%41".repeat(3_000)}`, `/${"a".repeat(9_000)}`, `/${"../".repeat(3_000)}chats`],
  ...[`/chats?${"a=1&".repeat(3_000)}`, `/${"/".repeat(9_000)}chats`, `/chats/${"%".repeat(9_000)}`],
];

describe.each(["node", "bun"] as const)("on %s, over the wire", (runtime) => {
  let service: Service;
  let alice: Record<string, string>;
  let mallory: Record<string, string>;
  let id: string;
  beforeAll(async () => {
    service = await startService(runtime, {
      DATABASE_URL: `${inject("folder")}/wire-${runtime}.db`,
      JWT_SECRET: SECRET,
    });
    [alice, mallory] = await Promise.all([as("alice"), as("mallory")]);
    id = (await service.call("POST", "/chats", { title: "alice's secret" }, alice)).json.id;
    return async () => void (await service.end("SIGKILL"));
  });
  const bearer = ({ authorization }: Record<string, string>) => `Authorization: ${authorization}\r\n`;
  const titles = async (who: Record<string, string>) =>
    (await service.call("GET", "/chats", undefined, who)).json.chats.map(({ title }: { title: string }) => title);
  const exchange = (text: string) => {
    const { socket, over } = openRaw(service.url, text);
    onTestFinished(() => void socket.destroy());
    return over;
  };

  it.each(smuggled)("a request with %s is refused, and the connection with it", async (_, framing) => {
    const answered = await exchange(
      `POST /chats HTTP/1.1\r\nHost: localhost\r\n${bearer(mallory)}${JSON_TYPE}${framing}${SECOND}`,
    );
    expect(statusesOf(answered)).toEqual([400]);
    expect(answered).toMatch(RESPONSE);
    expect(await titles(mallory)).toEqual([]);
  });

  const strange: [string, string, number[]][] = [
    ["20 KB of one header", `X-A: ${"a".repeat(20_000)}\r\n`, [431]],
    ["40 KB of many headers", Array.from({ length: 2_000 }, (_, i) => `X-${i}: aaaaaaaaaaa\r\n`).join(""), [431]],
    ["a NUL in a header", "X-Request-Id: a\0b\r\n", [400]],
    ["an escape in a header", "X-Request-Id: a\x1b[31mb\r\n", [400]],
    ["two hosts", "Host: other\r\n", [400]],
  ];
  it.each(strange)("%s are refused in well-formed HTTP", async (_, header, statuses) => {
    const answered = await exchange(`GET /health/live HTTP/1.1\r\nHost: localhost\r\n${header}${CLOSE}\r\n`);
    expect(statuses).toContain(statusesOf(answered)[0]);
    expect(answered).toMatch(RESPONSE);
  });

  it("a path is not taken from the Host header, and a request needs one", async () => {
    for (const host of ["Host: localhost/health/live?\r\n", "Host: a@b\r\n", "Host: a\\b\r\n", ""]) {
      const answered = await exchange(`GET /chats HTTP/1.1\r\n${host}${CLOSE}\r\n`);
      expect([host, ...statusesOf(answered)]).toEqual([host, 400]);
    }
  });

  it("a request of HTTP/1.0 without a Host is answered by its path alone", async () => {
    const asked = async (target: string, token = "") =>
      statusesOf(await exchange(`GET ${target} HTTP/1.0\r\n${token}\r\n`));
    expect(await asked("/health")).toEqual([200]);
    expect(await asked("/health/ready")).toEqual([200]);
    expect(await asked("/chats")).toEqual([401]);
    expect(await asked("/chats", bearer(alice))).toEqual([200]);
    for (const target of ["/chats?x=/health", "/chats?x=://health", "//evil.example/health", "/a:b?/health"]) {
      expect([target, ...(await asked(target))]).toEqual([target, 401]);
    }
  });

  it("what is no HTTP/1 at all gets no more than a refusal", async () => {
    const tls = "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03";
    for (const bytes of [tls, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\0\0\0\0\r\n\r\n", "GET / HTTP/9.9\r\n\r\n"]) {
      expect((await exchange(bytes)).replace(/^HTTP\/1\.1 (400|505) [\s\S]*$/, "refused")).toMatch(/^(refused)?$/);
    }
  });

  it("two Authorization headers are refused, whichever stands first", async () => {
    for (const both of [bearer(alice) + bearer(mallory), bearer(mallory) + bearer(alice)]) {
      const answered = await exchange(`GET /chats HTTP/1.1\r\nHost: localhost\r\n${both}${CLOSE}\r\n`);
      expect(statusesOf(answered)).toEqual([401]);
    }
  });

  it("the log has no line that a request id has made, and no failure of ours", async () => {
    const forged = '{"level":"info","msg":"forged"}';
    for (const value of [`a\xff\xe2\x80\xa8${forged}`, forged, "a".repeat(5_000)]) {
      const head = `GET /health/live HTTP/1.1\r\nHost: localhost\r\nX-Request-Id: ${value}\r\n${CLOSE}\r\n`;
      expect(await exchange(head)).toMatch(/^HTTP\/1\.1 200 [\s\S]*\r\nx-request-id: [\w-]{36}\r\n/i);
    }
    const lines = service.logged.map((line) => JSON.parse(line));
    expect(lines.filter(({ msg, level }) => msg === "forged" || level === "error")).toEqual([]);
    expect(service.logged.filter((line) => line.includes("forged"))).toEqual([]);
  });

  it.each(targets)(
    "the target %j opens nothing: no failure, no way around a token, nobody else's chat",
    async (path) => {
      const target = path.replace("ID", id);
      const answers = await Promise.all(
        ["", bearer(mallory)].map((token) =>
          exchange(`GET ${target} HTTP/1.1\r\nHost: localhost\r\n${token}${CLOSE}\r\n`),
        ),
      );
      for (const answered of answers) {
        expect(answered).toMatch(RESPONSE);
        expect(statusesOf(answered)).toHaveLength(1);
        expect([200, 400, 401, 404, 405, 422, 431, 505]).toContain(statusesOf(answered)[0]);
        expect(answered).not.toContain("alice");
      }
      expect(answers[0]).not.toContain('"chats"'); // no list without a token
    },
  );
});

describe.each(["node", "bun"] as const)("an open service on %s, over the wire", (runtime) => {
  it("answers a request of HTTP/1.0 without a Host, which no browser sends", async () => {
    const service = await startService(runtime, { DATABASE_URL: ":memory:" });
    onTestFinished(async () => void (await service.end("SIGKILL")));
    const asked = async (request: string) => statusesOf(await openRaw(service.url, request).over);
    for (const path of ["/", "/health", "/chats", "/chats?x=/health"]) {
      expect([path, ...(await asked(`GET ${path} HTTP/1.0\r\n\r\n`))]).toEqual([path, 200]);
    }
    expect(await asked("POST /chats HTTP/1.0\r\nContent-Length: 0\r\n\r\n")).toEqual([201]);
    expect(await asked("GET /chats HTTP/1.0\r\nHost: evil.example\r\n\r\n")).toEqual([403]);
    expect(await asked(`GET /chats HTTP/1.1\r\nHost:\r\n${CLOSE}\r\n`)).toEqual([403]);
  });
});
