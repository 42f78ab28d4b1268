import { and, eq } from "drizzle-orm";
import { open } from "./databases.ts";
import type { Asked, Provider, Script } from "./provider.ts";
import { PATIENT_WITH_PROVIDERS, startProvider } from "./provider.ts";
import { type Service, startService } from "./service.ts";
import { until } from "./story-until.ts";
import { type Reading, readStream } from "./stream-reader.ts";

/** A message that was sent with a key, and what its reader has heard. */
export type Told = { chatId: string; message: string; key: string; more: object; reading: Reading };

export async function makeChat(service: Service): Promise<string> {
  return (await service.call("POST", "/chats")).json.id;
}

/** Sends it as a stream, with a key; resolves once the service has said that it has it. */
export async function tell(service: Service, chatId: string, message: string, more: object = {}): Promise<Told> {
  const key = `key-${crypto.randomUUID()}`;
  const body = { chat_id: chatId, message, ...more, stream: true };
  const reading = await readStream(service.url, { path: "/chat", body, headers: { "idempotency-key": key } });
  await until("turn.started", () => reading.heard.turnId !== undefined);
  return { chatId, message, key, more, reading };
}

/** What a client does that has no answer: it sends the same again, with the same key. Gives every status, and the reply. */
export async function untilAnswered(service: Service, { chatId, message, key, more }: Told) {
  const statuses: number[] = [];
  for (;;) {
    const body = { chat_id: chatId, message, ...more };
    const { status, json } = await service.call("POST", "/chat", body, { "idempotency-key": key });
    statuses.push(status);
    if (status === 200 || statuses.length > 3) return { statuses, json };
  }
}

export const GROWING = Array.from({ length: 5_000 }, (_, i) => ` ${i}🌊`);
export const WHOLE = ["all", " that", " there", " was 🐚"];

/** By the first word of the question. */
function behaviour({ body }: Asked): Script {
  const message = body.messages.at(-1)?.content ?? "";
  if (message.startsWith("silent")) return { headersAfter: Number.POSITIVE_INFINITY };
  if (message.startsWith("growing")) return { text: GROWING, every: 20 };
  if (message.startsWith("whole")) return { text: WHOLE, afterwards: "stall" };
  return {};
}

export type Crash = {
  provider: Provider;
  /** On the database of the one that was killed. */
  service: Service;
  /** What the database had of the growing answer when the service was killed, or a little less. */
  storedBefore: string;
  silent: Told;
  growing: Told;
  whole: Told;
  line: [Told, ...Told[]];
  many: Told[];
  interrupted: Told;
  interrupting: Told;
  end(): Promise<void>;
};

const MANY = 30;

/** One SIGKILL in the middle of turns at every moment of theirs, and the service started again, with a provider in good health. */
export async function crashAmid(databaseUrl: string): Promise<Crash> {
  const provider = await startProvider();
  provider.behave(behaviour);
  const env = { DATABASE_URL: databaseUrl, OPENAI_BASE_URL: provider.openaiUrl, ...PATIENT_WITH_PROVIDERS };
  const first = await startService("node", env);
  const said = async (message: string) => tell(first, await makeChat(first), message);
  const growing = await said("growing one");
  const silent = await said("silent one");
  const ahead = await said("silent ahead of a line");
  const behind: Told[] = [];
  for (const message of ["second", "third", "fourth"]) behind.push(await tell(first, ahead.chatId, message));
  const many = await Promise.all(Array.from({ length: MANY }, (_, i) => said(`growing ${i}`)));
  const interrupted = await said("growing until interrupted");
  await until("growth", () => [...many, interrupted].every(({ reading }) => reading.heard.text !== ""));
  const interrupting = await tell(first, interrupted.chatId, "interrupting", { if_busy: "interrupt" });
  const whole = await said("whole one");
  await until("its last delta", () => whole.reading.heard.text === WHOLE.join(""));
  const storedBefore = await storedAnswer(databaseUrl, growing.chatId);
  await first.end("SIGKILL");
  provider.behave(() => ({}));
  const service = await startService("node", env);
  return {
    provider,
    service,
    storedBefore,
    ...{ silent, growing, whole, line: [ahead, ...behind], many, interrupted, interrupting },
    async end() {
      await service.end("SIGKILL");
      await provider.close();
    },
  };
}

/** Waits until some of a conversation's answer is stored; gives it. */
async function storedAnswer(databaseUrl: string, chatId: string): Promise<string> {
  const db = await open(databaseUrl);
  const { messages: m } = db.tables;
  let text = "";
  await until("stored text", async () => {
    const ofAnswer = and(eq(m.conversationId, chatId), eq(m.role, "assistant"));
    const [answer] = await db.select({ content: m.content }).from(m).where(ofAnswer);
    text = answer?.content ?? "";
    return text !== "";
  }).finally(() => db.close());
  return text;
}
