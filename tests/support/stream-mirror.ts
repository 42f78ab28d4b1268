import { isDeepStrictEqual } from "node:util";
import { afterAll, beforeAll, expect } from "vitest";
import { messageIdOf } from "../../src/stream-chat/ids.ts";
import { streamUserId } from "../../src/stream-chat/users.ts";
import { startApp, type TestApp } from "./app.ts";
import { type Provider, startProvider } from "./provider.ts";
import { until } from "./story-until.ts";
import { type FakeStream, startStream } from "./stream.ts";
import type { Message } from "./stream-chat-state.ts";

/** How a conversation stands at Stream, and how it should. */

type Shown = { id: string; text: string; by: string; reactions: string[]; status: string };
type Hung = { data: { emoji: string }; author_id: string };

export const PATIENT = { interval: 10, timeout: 60_000 };

type Client = Pick<TestApp, "call">;

/** A channel's messages with their parts put together, in order. */
export function shownIn(fake: FakeStream, channelId: string): Shown[] | undefined {
  const messages = fake.channel(channelId)?.messages.filter((one) => one.type !== "deleted");
  if (!messages) return undefined;
  const isFirst = ({ parley }: Message) => (parley as { part?: number } | undefined)?.part ?? 1;
  return messages
    .filter((one) => isFirst(one) === 1)
    .map((first) => {
      const { parts = 1 } = (first["parley"] ?? {}) as { parts?: number };
      const ids = Array.from({ length: parts }, (_, i) => (i === 0 ? first.id : `${messageIdOf(first.id)}-${i + 1}`));
      const text = ids.map((id) => messages.find((one) => one.id === id)?.text ?? `(no ${id})`).join("");
      const extra = messages.filter((one) => one.id.startsWith(`${messageIdOf(first.id)}-`) && !ids.includes(one.id));
      const reactions = Object.entries(fake.reactions(first.id)).flatMap(([type, by]) =>
        by.map((who) => `${type} ${who}`),
      );
      return {
        id: messageIdOf(first.id),
        text: text + extra.map(({ id }) => `(${id} is left)`).join(""),
        by: first.user.id,
        reactions: reactions.sort(),
        status: String(first["status"] ?? "completed"),
      };
    });
}

/** The same of the session as the API shows it. */
export async function standsIn({ call }: Client, sessionId: string, user?: string): Promise<Shown[]> {
  const headers: Record<string, string> = user === undefined ? {} : { "x-user-id": user };
  const { json } = await call("GET", `/api/v1/sessions/${sessionId}/messages?limit=500`, undefined, headers);
  // biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
  return json.map((one: any) => ({
    id: one.id,
    text: one.content,
    by: ["assistant", "system"].includes(one.sender_type) ? "assistant" : streamUserId(one.sender_id),
    reactions: one.extensions
      .filter(({ extension_type }: { extension_type: string }) => extension_type === "reaction")
      .map(({ data, author_id }: Hung) => `${data.emoji} ${streamUserId(author_id)}`)
      .sort(),
    status: one.status,
  }));
}

type How = { user?: string; inOrder?: boolean };

/** Waits until Stream shows a session as it stands, then gives its channel. */
export async function mirrored(
  client: Client,
  fake: FakeStream,
  sessionId: string,
  { user, inOrder = true }: How = {},
) {
  const sorted = (all: Shown[]) => (inOrder ? all : all.toSorted((a, b) => (a.id < b.id ? -1 : 1)));
  const both = async () =>
    [sorted(shownIn(fake, sessionId) ?? []), sorted(await standsIn(client, sessionId, user))] as const;
  const isShown = async () => isDeepStrictEqual(...(await both()));
  await until("Stream to show it", isShown, 100_000).catch(async () => {
    const [there, here] = await both();
    expect(there).toEqual(here);
  });
  const channel = fake.channel(sessionId);
  if (!channel) throw new Error("there is no channel");
  return channel;
}

export type Scene = { app: TestApp; fake: FakeStream; provider: Provider };

/** The service with a model and a Stream of the tests' own, for all tests of a `describe`. */
export function useMirror(fresh: () => Promise<string>, env: Record<string, string> = {}): Scene {
  const scene = {} as Scene;
  beforeAll(async () => {
    const [fake, provider] = await Promise.all([startStream(), startProvider()]);
    const model = { OPENAI_BASE_URL: provider.openaiUrl, OPENAI_API_KEY: "k", MODELS: "m=openai/m" };
    const app = await startApp({ DATABASE_URL: await fresh(), ...model, ...fake.env, ...env });
    Object.assign(scene, { app, fake, provider });
  });
  afterAll(async () => {
    await scene.app?.stop();
    await Promise.all([scene.fake?.close(), scene.provider?.close()]);
  });
  return scene;
}
