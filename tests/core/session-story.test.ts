import { eq } from "drizzle-orm";
import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AppError } from "../../src/core/errors.ts";
import { bornState, type Move, moveSession, type SessionState } from "../../src/core/session-moves.ts";
import { beginTurn } from "../../src/core/turns.ts";
import { heedCancellations } from "../../src/core/upkeep.ts";
import type { Db } from "../../src/db/db.ts";
import type { Message } from "../../src/db/tables.ts";
import { expectTrueCounts, type Instance, messagesOf, startInstance, turnsOf } from "../support/core-instance.ts";
import { eventually, testModels } from "../support/core-models.ts";
import {
  ANN,
  ASK,
  accept,
  assign,
  BACK,
  BEN,
  END,
  type Live,
  move,
  newSession,
  say,
} from "../support/core-sessions.ts";
import { databases, open } from "../support/databases.ts";

/** What is done on one of two instances. Questions are all asked of the first: a line over both moves on by looking now and then. */
type Command = { name: string; at: number; run(deps: Instance, live: Live): Promise<unknown> };
type Named = Omit<Command, "at">;

const moves = (name: string, wanted: Move, who: (live: Live) => Parameters<typeof move>[1]): Named => ({
  name,
  run: (deps, live) => move(deps, who(live), live, wanted),
});
const ASKS_A_MODEL = "the customer asks the assistant";
const customer = ({ owner }: Live) => owner;

const COMMANDS: [number, Named][] = [
  [6, moves("the customer asks", ASK, customer)],
  [1, moves("the customer ends it", END, customer)],
  [2, { name: "the customer says something", run: (deps, live) => say(deps, live.owner, live, "Hello?") }],
  [
    6,
    {
      name: ASKS_A_MODEL,
      run: (deps, { owner, id }) => beginTurn(deps, owner, { conversationId: id, content: "Why?", model: undefined }),
    },
  ],
  ...[ANN, BEN].flatMap((agent): [number, Named][] => [
    [6, moves(`${agent.self} accepts`, accept(agent), () => agent)],
    [2, moves(`${agent.self} hands back`, BACK, () => agent)],
    [1, moves(`${agent.self} puts it in line`, ASK, () => agent)],
    [1, moves(`${agent.self} hands it to the other`, assign(agent === ANN ? "ben" : "ann"), () => agent)],
    [1, { name: `${agent.self} says something`, run: (deps, live) => say(deps, agent, live, "I see.") }],
  ]),
];

const command: fc.Arbitrary<Command> = fc
  .tuple(fc.oneof(...COMMANDS.map(([weight, one]) => ({ weight, arbitrary: fc.constant(one) }))), fc.nat({ max: 1 }))
  .map(([one, at]) => ({ ...one, at: one.name === ASKS_A_MODEL ? 0 : at }));
/** Each batch runs at once, one after the other. */
const stories = fc.array(fc.array(command, { minLength: 1, maxLength: 7 }), { minLength: 2, maxLength: 7 });

/** Stories are told for so long at most, in milliseconds. */
const TIME_MS = 4_000;

/** Refusals are part of the story; anything else is not. */
const REFUSALS = ["session_ended", "session_with_agent", "already_accepted", "unlawful_move", "queue_full"];

describe.each(databases)("a session that two agents and a customer pull at, on $database", ({ fresh }) => {
  let handles: Db[];
  beforeAll(async () => {
    const url = await fresh();
    handles = [await open(url), await open(url)];
  });
  afterAll(() => Promise.all(handles.map((db) => db.close())));

  it("is always in a lawful state, and its thread tells how it came there", async () => {
    const instances = handles.map((db) => startInstance(db, talking()));
    await fc.assert(
      fc.asyncProperty(stories, (story) => tell(instances, story)),
      { numRuns: 60, plugins: [fc.interruptAfterTimeLimit(TIME_MS)], includeErrorInReport: true },
    );
  });

  /** A model that takes its time: a word, then a pause, then another. */
  const talking = () =>
    testModels((call) => {
      call.say("Since");
      setTimeout(() => call.end(" it is so."), call.messages.length % 4);
    });

  async function tell(instances: Instance[], story: Command[][]): Promise<void> {
    const [db] = handles as [Db];
    const live = await newSession(db);
    let moved = 0;
    for (const batch of story) {
      const results = await Promise.allSettled(
        batch.map(({ at, run }) => run(instances[at] ?? (instances[0] as Instance), live)),
      );
      for (const result of results) if (result.status === "rejected") expectRefusal(result.reason);
      moved += results.filter(
        ({ status }, i) => status === "fulfilled" && !/says|assistant/.test(batch[i]?.name ?? ""),
      ).length;
      await expectNothingRunsAlone(db, live);
      await Promise.all(instances.map(heedCancellations));
    }
    await eventually(() => expect(instances.flatMap(({ live: { turns } }) => [...turns.keys()])).toEqual([]));
    await expectOneStory(db, live, moved);
  }
});

function expectRefusal(reason: unknown): void {
  if (!(reason instanceof AppError)) throw reason;
  expect(REFUSALS).toContain(reason.code);
}

/** Out of the assistant's control no turn waits, and none runs that was not told to stop. */
async function expectNothingRunsAlone(db: Db, { id }: Live): Promise<void> {
  const { conversations: c, turns: t } = db.tables;
  const rows = await db
    .select({ turn: t, session: c })
    .from(t)
    .innerJoin(c, eq(c.id, t.conversationId))
    .where(eq(c.id, id));
  const open = rows.filter(({ turn }) => turn.status === "queued" || turn.status === "in_progress");
  const alone = open.filter(({ turn, session }) => {
    const isTheirs = session.control === "assistant" && session.status !== "ended";
    return !isTheirs && (turn.status === "queued" || turn.cancelRequestedAt === null);
  });
  expect(alone).toEqual([]);
}

async function expectOneStory(db: Db, live: Live, moved: number): Promise<void> {
  const { id } = live;
  const [session, thread, turns] = [await live.read(), await messagesOf(db, id), await turnsOf(db, id)];
  const notes = thread.filter(({ role }) => role === "system");
  const { status, control, agentId } = session;
  expect(notes.reduce((state, note) => replay(state, note, live.owner.self), bornState(null))).toEqual({
    status,
    control,
    agentId,
  });
  expect(notes.length, "a move that was refused leaves no note").toBeLessThanOrEqual(moved);

  expect(thread.map(({ seq }) => seq)).toEqual([...new Set(thread.map(({ seq }) => seq))].sort((a, b) => a - b));
  const finished = turns.filter(({ attempts }) => attempts !== null).length;
  expect(session.rev, "a revision for every change, and no more").toBe(thread.length + finished);
  for (const { seq, rev } of thread) expect(rev).toBeGreaterThanOrEqual(seq);

  if (status === "ended") expect(thread.at(-1)).toMatchObject({ role: "system", metadata: { event: "ended" } });
  expect(turns.filter(({ status }) => status === "queued" || status === "in_progress")).toEqual([]);
  await expectTrueCounts(db, id);
}

/** The move that a note tells of, made by the machine. */
function replay(state: SessionState, { metadata, content }: Message, customer: string): SessionState {
  const { event, by, agent_id = null } = metadata as { event: string; by: string; agent_id?: string };
  const moved = moveSession(state, moveOf(event, by, agent_id, state), by === customer ? "customer" : "staff");
  if (moved.kind !== "moved")
    throw new Error(`${JSON.stringify(state)} does not lead to: ${content} (${event} by ${by})`);
  expect(moved.state.agentId).toBe(agent_id);
  return moved.state;
}

function moveOf(event: string, by: string, agentId: string | null, { control }: SessionState): Move {
  if (event === "ended") return END;
  if (event === "to_assistant") return BACK;
  if (event === "to_queue") return ASK;
  return control === "queue" && by === agentId ? { to: "accept", agentId } : { to: "agent", agentId };
}
