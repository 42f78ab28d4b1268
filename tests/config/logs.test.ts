import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { as, SECRET } from "../support/app.ts";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, type Launched, launchIn } from "../support/models-launch.ts";
import { type Provider, type Script, startProvider } from "../support/provider.ts";

const KEY = "sk-marker-key";
const TEXT = "marker-text";
const BODY = "marker-body";

let provider: Provider;
beforeAll(async () => {
  provider = await startProvider();
});
afterEach(() => provider.behave(() => ({})));
afterAll(() => provider.close());

const requestsIn = ({ lines }: Launched) =>
  lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "request");

describe.each(runtimes)("on %s, the log", (runtime) => {
  const start = (env: Record<string, string> = {}) =>
    launchIn(freshFolder(), runtime, {
      JWT_SECRET: SECRET,
      HOST: "127.0.0.1",
      OPENAI_BASE_URL: provider.openaiUrl,
      OPENAI_API_KEY: KEY,
      IDLE_TIMEOUT_MS: "2000",
      LOG_LEVEL: "debug",
      ...env,
    });

  it("has a JSON line for every request: its id, route, status and milliseconds", async () => {
    const service = await start();
    const alice = await as("alice");
    const ids = { "x-request-id": "request-of-the-test" };
    await service.call("/api/chat/send", { message: "Hi" }, { ...alice, ...ids });
    await service.call("/chats/00000000-0000-7000-8000-000000000000", undefined, alice);
    await service.call("/api/chat/send", { message: "Hi" });
    await expect.poll(() => requestsIn(service).length).toBe(3);
    const common = { time: expect.stringMatching(/Z$/), ms: expect.any(Number), level: "info" };
    expect(requestsIn(service)).toEqual([
      expect.objectContaining({
        ...common,
        request_id: "request-of-the-test",
        method: "POST",
        route: "/api/chat/send",
        status: 200,
      }),
      expect.objectContaining({ ...common, request_id: expect.any(String), route: "/chats/:chat_id", status: 404 }),
      expect.objectContaining({ ...common, request_id: expect.any(String), status: 401 }),
    ]);
  });

  it("names the request by the id that its answer carries", async () => {
    const service = await start();
    const answer = await service.call("/health");
    await expect.poll(() => requestsIn(service).length).toBe(1);
    expect(requestsIn(service)[0]).toMatchObject({ request_id: answer.headers.get("x-request-id"), route: "/health" });
  });

  it.each<{ what: string; script: Script; status: number }>([
    { what: "goes well", script: {}, status: 200 },
    { what: "is refused", script: { status: 401, error: { error: { message: `${BODY} ${KEY}` } } }, status: 502 },
    { what: "is cut", script: { text: [TEXT, ""], every: 100, afterwards: "cut" }, status: 502 },
    { what: "falls silent", script: { text: [TEXT], afterwards: "stall" }, status: 504 },
    { what: "is garbage", script: { raw: `data: ${BODY}\n\n` }, status: 502 },
  ])("holds no text, token or key when a turn $what", async ({ script, status }) => {
    provider.behave(() => script);
    const service = await start();
    const { authorization = "" } = await as("alice");
    const sent = await service.call("/api/chat/send", { message: `${TEXT} here` }, { authorization });
    expect(sent.status).toBe(status);
    service.signal("SIGTERM");
    await expect.poll(service.exitCode).toBe(0);
    const log = service.lines.join("\n");
    expect(log).toContain('"route":"/api/chat/send"');
    for (const secret of [TEXT, BODY, KEY, SECRET, authorization.replace("Bearer ", "")]) {
      expect(log).not.toContain(secret);
    }
  });

  it("holds no text, token or key of requests that are refused", async () => {
    const service = await start();
    const alice = await as("alice");
    const bad = { authorization: `Bearer ${KEY}.x.y`, cookie: `session=${KEY}`, "x-user-id": TEXT };
    const refused = [
      service.call("/api/chat/send", { message: TEXT }, bad),
      service.call("/api/chat/send", { message: { [TEXT]: TEXT } }, alice),
      service.call("/api/chat/send", { message: TEXT, model: TEXT }, alice),
      service.call(`/chats?user_id=${TEXT}&token=${KEY}`, undefined, alice),
      service.call(`/nothing/${TEXT}?token=${KEY}`, undefined, alice),
      fetch(`${service.url}/api/chat/send`, {
        method: "POST",
        body: `{"message": "${TEXT}`,
        headers: { ...alice, "content-type": "application/json" },
      }),
    ];
    const statuses = (await Promise.all(refused)).map(({ status }) => status);
    expect(statuses).toEqual([401, 422, 422, 403, 404, 400]);
    await expect.poll(() => requestsIn(service).length).toBe(refused.length);
    const log = service.lines.join("\n");
    for (const secret of [TEXT, KEY, SECRET]) expect(log).not.toContain(secret);
  });

  it("is for people with LOG_FORMAT=pretty: the time, the level, what happened, and the fields", async () => {
    const service = await start({ LOG_FORMAT: "pretty" });
    await service.call("/health");
    const log = () => service.lines.join("\n");
    await expect.poll(log).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}request .*route=\/health .*status=200 /m);
    expect(log()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}Parley is listening url=http:/m);
    service.signal("SIGTERM");
    await expect.poll(service.exitCode).toBe(0);
    await expect.poll(log).toMatch(/ stopped *$/);
    expect(service.lines.filter((line) => line.startsWith("{"))).toEqual([]);
  });

  it("leaves out what is below LOG_LEVEL", async () => {
    const service = await start({ LOG_LEVEL: "info" });
    await service.call("/health");
    await expect.poll(() => requestsIn(service).length).toBe(1);
    expect(service.lines.map((line) => JSON.parse(line).level)).not.toContain("debug");
  });
});
