import { setTimeout as sleep } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { databases } from "../support/databases.ts";
import { startProvider } from "../support/provider.ts";
import { type Service, startService } from "../support/service.ts";
import { until } from "../support/story-until.ts";
import { type FakeStream, startStream } from "../support/stream.ts";
import type { Fault } from "../support/stream-chat-answers.ts";
import { mirrored, shownIn } from "../support/stream-mirror.ts";

const SESSIONS = 5;
/** What people do, in all sessions together, before each next thing fails. */
const ACTS = 20;

const pick = <T>(of: readonly [T, ...T[]]): T => of[Math.floor(Math.random() * of.length)] ?? of[0];
const chance = (part: number) => Math.random() < part;

function fault(): Fault | undefined {
  if (chance(0.85)) return undefined;
  return pick<Fault>([
    { how: 500 },
    { how: "cut" },
    { how: "cut", done: true },
    { how: 503, done: true },
    { after: sleep(200) },
  ]);
}

type Rain = { acts: number; isOver: boolean };

/** What people do in one session, until it is over; a request that a killed service did not answer may have been heard. */
async function talk(service: () => Service, fake: FakeStream, { id, rain }: { id: string; rain: Rain }) {
  const call = (method: string, path: string, body?: unknown) =>
    service()
      .call(method, path, body)
      .catch(() => undefined);
  const user = { sender_type: "user", sender_id: "ada" };
  const say = (more: object) => call("POST", `/api/v1/sessions/${id}/messages`, { ...user, ...more });
  const messages = async () => (await call("GET", `/api/v1/sessions/${id}/messages?limit=500`))?.json ?? [];
  const any = async () => pick<{ id: string; sender_type: string }>(await messages());
  const there = () => {
    const own = fake.channel(id)?.messages.filter(({ type, user: by }) => type === "regular" && by.id === "ada") ?? [];
    return pick(own as never as [(typeof own)[number]]).id;
  };
  const acts: (() => Promise<unknown>)[] = [
    () => say({ content: `Said ${Math.random()}` }),
    () => say({ content: "Answer me", reply: true }),
    () => say({ content: `${Math.random()} `.repeat(700) }),
    async () => call("PATCH", `/api/v1/messages/${(await any())?.id}`, { content: `Edited ${Math.random()}` }),
    async () => call("DELETE", `/api/v1/messages/${(await any())?.id}`),
    async () => call("POST", `/api/v1/messages/${(await any())?.id}/extensions`, reaction()),
    () => call("POST", `/api/v1/sessions/${id}/transfer`, { to: pick(["agent", "assistant"]) }),
    async () => fake.as("ada").send(id, `From there ${Math.random()}`),
    async () => fake.as("ada").edit(there(), `Edited there ${Math.random()}`),
    async () => fake.as("ada").react(there(), pick(["love", "haha"])),
  ];
  while (!rain.isOver) {
    await pick(acts as never as [() => Promise<unknown>])().catch(() => {}); // nothing to edit, a channel that is not there yet
    rain.acts++;
    await sleep(Math.random() * 120);
  }
}

const reaction = () => ({ extension_type: "reaction", data: { emoji: pick(["👍", "🎉"]) } });

describe.concurrent.each(databases)("whatever fails, on $database,", ({ fresh }) => {
  it("Stream shows in the end what the conversations are, and nothing twice", { timeout: 300_000 }, async (test) => {
    const [fake, provider] = await Promise.all([startStream(), startProvider()]);
    const env = { DATABASE_URL: await fresh(), ...fake.env, MODELS: "m=openai/m", OPENAI_BASE_URL: provider.openaiUrl };
    provider.behave(() => ({ text: ["An ", "answer ", "that ", "takes ", "its time"], every: 60 }));
    let service = await startService("node", env);
    const { port } = new URL(service.url);
    test.onTestFinished(async () => {
      await service.end("SIGKILL");
      await Promise.all([fake.close(), provider.close()]);
    });
    fake.hooks.to(`${service.url}/webhooks/stream`, { tries: Number.POSITIVE_INFINITY }); // the service restarts
    const ids = await Promise.all(
      Array.from({ length: SESSIONS }, async () => {
        return (await service.call("POST", "/api/v1/sessions", { user_id: "ada" })).json.id as string;
      }),
    );
    await until("channels", () => ids.every((id) => fake.channel(id)));

    fake.behave(fault);
    const rain: Rain = { acts: 0, isOver: false };
    const talks = ids.map((id) => talk(() => service, fake, { id, rain }));
    const moreActs = () => {
      const enough = rain.acts + ACTS;
      return until("more to be done", () => rain.acts >= enough);
    };
    for (const _ of [1, 2, 3]) {
      await moreActs();
      await service.end("SIGKILL");
      service = await startService("node", { ...env, PORT: port });
    }
    await moreActs();
    await fake.down();
    await moreActs();
    await fake.up();
    rain.isOver = true;
    await Promise.all(talks);
    fake.behave(() => undefined);
    await fake.hooks.settled(); // what is told late begins turns
    const status = async () => (await service.call("GET", "/api/v1/stream/status")).json;
    await until("what was told to be worked on", async () => (await status()).events.waiting === 0);

    for (const id of ids) {
      const messages = async () => (await service.call("GET", `/api/v1/sessions/${id}/messages?limit=500`)).json;
      await until("all turns to end", async () => !/"in_progress"/.test(JSON.stringify(await messages())));
      const channel = await mirrored(service, fake, id, { inOrder: false }); // each side has what the other one said later
      expect(new Set(channel.messages.map((one) => one.id)).size).toBe(channel.messages.length);
      expect(channel.messages.filter(({ generating, type }) => generating && type !== "deleted")).toEqual([]);
    }
    expect(ids.flatMap((id) => shownIn(fake, id) ?? []).length).toBeGreaterThan(10);
  });
});
