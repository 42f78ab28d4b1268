import type { Attempt, TurnError } from "../../src/core/model.ts";
import type { Phase } from "./fault.ts";
import { chainOf } from "./fault.ts";
import type { Run, World } from "./fault-world.ts";
import { until } from "./story-until.ts";
import { type Reading, readStream } from "./stream-reader.ts";
import { reassemble } from "./stream-text.ts";

type Told = {
  turnId: string;
  /** The HTTP status of a plain answer; the last event of a stream. */
  status: number | string;
  /** Of the failure that was told; null where an answer was. */
  code: string | null;
  /** What a plain caller was told, or what a stream's reader has put together; null where a plain one was refused. */
  text: string | null;
  retryAfter: number;
  statuses: string[];
  restarts: number;
  /** What is wrong with the stream itself. */
  flaws: string[];
  said: string;
};

type Turn = { status: string; target: string | null; attempts: Attempt[]; error: TurnError | null };

/** How a run went, as its client and the providers saw it. */
export type Ran = Told & {
  turn: Turn;
  /** What is kept as the answer. */
  stored: string;
  asked: Record<string, number>;
  /** What answered the turns before the last one. */
  before: (string | null)[];
  /** From the first question to the last answer, in milliseconds. */
  ms: number;
};

type Ending = Pick<Ran, "before"> & { told: Told };

/** Runs a case in a conversation of its own, to its end. */
export async function perform(world: World, run: Run): Promise<Ran> {
  const chat = (await world.serviceOf(run).call("POST", "/chats")).json.id;
  const since = performance.now();
  const { told, before } = await endingOf(world, run, chat);
  const ms = performance.now() - since;
  const turn = await world.serviceOf(run).call("GET", `/api/v1/turns/${told.turnId}`);
  const messages = await world.serviceOf(run).call("GET", `/chats/${chat}/messages`);
  const answer = messages.json.findLast(({ role }: { role: string }) => role === "assistant");
  return {
    ...told,
    ...{ before, ms },
    turn: turn.json,
    stored: before.length > 0 ? (told.text ?? "") : (answer?.content ?? ""),
    said: told.said + turn.text + messages.text,
    asked: world.asked(run.name),
  };
}

async function endingOf(world: World, run: Run, chat: string): Promise<Ending> {
  const { cancel, recovers } = run.fault;
  if (cancel) return cancelled(world, run, { chat, phase: cancel });
  if (!recovers) return { told: await send(world, run, { chat }), before: [] };
  const before: (string | null)[] = [];
  for (let i = 0; i < 2; i++) {
    const { turnId } = await send(world, run, { chat });
    before.push((await world.serviceOf(run).call("GET", `/api/v1/turns/${turnId}`)).json.target);
  }
  world.recover(run.name);
  await until("another trial", async () => (await circuitOf(world, run)) === "half_open");
  return { told: await send(world, run, { chat }), before };
}

async function circuitOf(world: World, run: Run): Promise<string> {
  const { aliases } = (await world.serviceOf(run).call("GET", "/models")).json;
  return aliases.find(({ alias }: { alias: string }) => alias === run.name).targets[0].breaker;
}

type Asking = { chat: string; key?: string };

const bodyOf = ({ name }: Run, chat: string) => ({ chat_id: chat, message: name, model: name });
const headersOf = ({ key }: Asking): Record<string, string> => (key === undefined ? {} : { "idempotency-key": key });

async function send(world: World, run: Run, asking: Asking): Promise<Told> {
  if (run.mode === "streamed") return heardOf(await open(world, run, asking));
  const called = await world.serviceOf(run).call("POST", "/chat", bodyOf(run, asking.chat), headersOf(asking));
  const { json, status, text } = called;
  return {
    ...{ turnId: json.turn_id, status, code: json.code ?? null, text: json.reply ?? null, said: text },
    retryAfter: Number(called.headers.get("retry-after") ?? 0),
    ...{ statuses: [], restarts: 0, flaws: [] },
  };
}

const open = (world: World, run: Run, asking: Asking): Promise<Reading> =>
  readStream(world.serviceOf(run).url, {
    path: "/chat",
    body: { ...bodyOf(run, asking.chat), stream: true },
    headers: headersOf(asking),
  });

async function heardOf(reading: Reading): Promise<Told> {
  const { whole } = await reading.over;
  const { frames, heard, problem } = reading;
  const { text, restarts, flaws } = reassemble(frames);
  const statuses = frames.filter(({ event }) => event === "turn.status").map(({ data }) => data.status);
  return {
    turnId: heard.turnId ?? "",
    status: heard.end?.event ?? "none",
    code: heard.end?.data.error?.code ?? null,
    retryAfter: heard.end?.data.error?.retry_after_s ?? 0,
    ...{ text, restarts, statuses: [...new Set<string>(statuses)] },
    flaws: whole ? flaws : [...flaws, "the connection was cut"],
    said: problem + JSON.stringify(frames),
  };
}

/** A plain caller learns the turn's id as any client may: by joining it with its key. */
async function cancelled(world: World, run: Run, { chat, phase }: { chat: string; phase: Phase }): Promise<Ending> {
  const key = `key-${run.name}`;
  const answer = run.mode === "plain" ? send(world, run, { chat, key }) : null;
  if (answer) await until("the turn", () => isReached(world, run, "begun"));
  const reading = await open(world, run, { chat, key });
  await until(phase, () => isReached(world, run, phase) && isHeard(reading, phase));
  await world.serviceOf(run).call("POST", `/api/v1/turns/${reading.heard.turnId}/cancel`);
  const told = await (answer ?? heardOf(reading));
  await reading.over;
  return { told, before: [] };
}

function isReached(world: World, run: Run, phase: Phase | "begun"): boolean {
  const first = chainOf(run.fault)[0] ?? "openai";
  if (world.asked(run.name)[first] === 0) return false;
  if (phase === "sleeping") return world.busy(run.name) === 0;
  return phase === "begun" || phase === "queued" || world.busy(run.name) > 0;
}

function isHeard({ heard, frames }: Reading, phase: Phase): boolean {
  if (phase === "queued") return frames.some(({ event }) => event === "turn.status");
  return phase === "streaming" ? heard.text !== "" : heard.turnId !== undefined;
}
