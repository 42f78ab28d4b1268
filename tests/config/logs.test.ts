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

const turnsIn = ({ lines }: Launched) =>
  lines.map((line) => JSON.parse(line)).filter(({ msg }) => msg === "turn ended");

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
      expect.objectContaining({
        ...{ ...common, request_id: expect.any(String), route: "/chats/:chat_id", status: 404, code: "not_found" },
      }),
      expect.objectContaining({ ...common, request_id: expect.any(String), status: 401 }),
    ]);
  });

  it("names the request by the id that its answer carries", async () => {
    const service = await start();
    const answer = await service.call("/");
    await expect.poll(() => requestsIn(service).length).toBe(1);
    expect(requestsIn(service)[0]).toMatchObject({ request_id: answer.headers.get("x-request-id"), route: "/" });
  });

  it("has checks of health and readings of the metrics at debug", async () => {
    const service = await start({ METRICS_OPEN: "true" });
    const paths = ["/health", "/health/live", "/health/ready", "/api/v1/health", "/metrics"];
    for (const path of paths) expect((await service.call(path)).status).toBe(200);
    await expect.poll(() => requestsIn(service).length).toBe(paths.length);
    expect(requestsIn(service).map(({ level, route }) => [level, route])).toEqual(paths.map((path) => ["debug", path]));
  });

  it("says which path there was not, cut, without its query, and in one line whatever stands in it", async () => {
    const service = await start({ LOG_FORMAT: "pretty" });
    const alice = await as("alice");
    await service.call(`/nothing%0a2026%1b[31m?token=${KEY}`, undefined, alice);
    await service.call(`/${"long".repeat(200)}`, undefined, alice);
    const lines = () => service.lines.filter((line) => line.includes("status=404"));
    await expect.poll(() => lines().length).toBe(2);
    expect(lines()[0]).toContain("route=none");
    expect(lines()[0]).toContain("path=/nothing%0A2026%1B%5B31m ");
    expect(lines()[1]).toMatch(/ path=\/(long){49}lon /);
  });

  it("has one line for each turn that ended, with the id of its request, what answered and what it used", async () => {
    const service = await start();
    const alice = { ...(await as("alice")), "x-request-id": "request-of-the-test" };
    const sent = await service.call("/api/chat/send", { message: "Hi" }, alice);
    const { turn_id, conversation_id } = JSON.parse(await sent.text());
    await expect.poll(() => turnsIn(service)).toHaveLength(1);
    const names = { request_id: "request-of-the-test", turn_id, conversation_id };
    expect(turnsIn(service)).toEqual([
      {
        ...{ ...names, level: "info", msg: "turn ended", outcome: "completed" },
        ...{
          target: expect.stringMatching(/^openai\//),
          input_tokens: expect.any(Number),
          output_tokens: expect.any(Number),
        },
        ...{ ms: expect.any(Number), time: expect.any(String) },
      },
    ]);
    const turn = await (await service.call(`/api/v1/turns/${turn_id}`, undefined, alice)).json();
    expect(turn).toMatchObject({ id: turn_id, request_id: "request-of-the-test" });
  });

  it("warns of a target that the operator has to mend, also where another one answers", async () => {
    provider.behave(({ body }) => (body.model === "gone" ? { status: 401, error: { error: { message: BODY } } } : {}));
    const service = await start({ MODELS: "balanced=openai/gone,openai/well" });
    await service.call("/api/chat/send", { message: "Hi" }, await as("alice"));
    await expect.poll(() => turnsIn(service)).toHaveLength(1);
    expect(turnsIn(service)[0]).toMatchObject({
      ...{ level: "warn", outcome: "completed", target: "openai/well" },
      attempts: [
        { target: "openai/gone", outcome: "auth", status: 401 },
        { target: "openai/well", outcome: "completed", status: 200 },
      ],
    });
  });

  it.each([false, true])(
    "warns of a turn that failed, and says what the provider said (stream: %s)",
    async (stream) => {
      provider.behave(() => ({ status: 401, error: { error: { message: BODY } } }));
      const service = await start();
      const alice = { ...(await as("alice")), "x-request-id": "request-of-the-test" };
      await (await service.call("/api/chat/send", { message: "Hi", stream }, alice)).text();
      await expect.poll(() => [turnsIn(service).length, requestsIn(service).length]).toEqual([1, 1]);
      expect(turnsIn(service)).toEqual([
        expect.objectContaining({
          ...{ level: "warn", request_id: "request-of-the-test", outcome: "failed", code: "provider_failed" },
          attempts: [
            expect.objectContaining({ target: expect.stringMatching(/^openai\//), outcome: "auth", status: 401 }),
          ],
        }),
      ]);
      const request = stream ? { level: "info", status: 200 } : { level: "warn", status: 502, code: "provider_failed" };
      expect(requestsIn(service)).toEqual([expect.objectContaining(request)]);
    },
  );

  it("has the line of a stream when it is over, with how it ended and how long it took", async () => {
    provider.behave(() => ({ text: [TEXT], afterwards: "stall" }));
    const service = await start({ IDLE_TIMEOUT_MS: "60000" });
    const alice = await as("alice");
    const left = new AbortController();
    const init = { method: "POST", headers: { ...alice, "content-type": "application/json" }, signal: left.signal };
    const body = JSON.stringify({ message: "Hi", stream: true });
    const response = await fetch(`${service.url}/api/chat/send`, { ...init, body });
    const reader = response.body?.getReader();
    let heard = "";
    while (!heard.includes(TEXT)) heard += new TextDecoder().decode((await reader?.read())?.value);
    const [, id] = /"turn_id":"([^"]+)"/.exec(heard) ?? [];
    expect(requestsIn(service)).toEqual([]);
    left.abort();
    await expect.poll(() => requestsIn(service)).toHaveLength(1);
    const common = { status: 200, level: "info", ms: expect.any(Number), writes: expect.any(Number) };
    expect(requestsIn(service)[0]).toMatchObject({ ...common, route: "/api/chat/send", ended: "client_left" });

    const following = service.call(`/api/v1/turns/${id}/stream`, undefined, alice).then((followed) => followed.text());
    await service.call(`/api/v1/turns/${id}/cancel`, {}, alice);
    const { length } = Buffer.from(await following);
    await expect.poll(() => requestsIn(service)).toHaveLength(3);
    expect(requestsIn(service)).toContainEqual(
      expect.objectContaining({ ...common, route: "/api/v1/turns/:turn_id/stream", ended: "completed", bytes: length }),
    );
    expect(turnsIn(service)).toEqual([expect.objectContaining({ level: "info", code: "turn_cancelled" })]);
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
      service.call(`/nothing?token=${KEY}&text=${TEXT}`, undefined, alice),
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
    await service.call("/");
    const log = () => service.lines.join("\n");
    await expect.poll(log).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}request .*route=\/ .*status=200 /m);
    expect(log()).toMatch(/^\d\d:\d\d:\d\d\.\d{3} info {2}Parley is listening url=http:/m);
    service.signal("SIGTERM");
    await expect.poll(service.exitCode).toBe(0);
    await expect.poll(log).toMatch(/ stopped *$/);
    expect(service.lines.filter((line) => line.startsWith("{"))).toEqual([]);
  });

  it("leaves out what is below LOG_LEVEL", async () => {
    const service = await start({ LOG_LEVEL: "info" });
    await service.call("/health");
    await service.call("/");
    await expect.poll(() => requestsIn(service).length).toBe(1);
    expect(service.lines.map((line) => JSON.parse(line).level)).not.toContain("debug");
  });
});
