import { and, asc, eq, gt, inArray, isNull, ne, sql } from "drizzle-orm";
import { type Db, statement } from "../db/db.ts";
import { firstPart, inPart, mayGoOn } from "../db/parts.ts";
import { inScope, scopeSlots } from "../db/scope.ts";
import type { Message, TurnOptions } from "../db/tables.ts";
import { AppError, notFound } from "./errors.ts";
import type { Actor } from "./identity.ts";
import { joined, settledUse } from "./joining.ts";
import type { RequestKey } from "./keys.ts";
import type { LiveTurn, SeenTurn, TurnDeps } from "./live.ts";
import { refOf } from "./rows.ts";
import type { Trace } from "./trace.ts";
import { answerAgain, refuse } from "./turns.ts";

/** One question may have several answers, of which one stands in the thread. */

const selectAnswer = statement([...scopeSlots, "messageId"], (db, $) => {
  const { messages: m, conversations: c, turns: t } = db.tables;
  const questionSeq = sql<number>`(select q.seq from messages q where q.id = ${t.userMessageId})`;
  return db
    .select({ message: m, turn: t, questionSeq })
    .from(m)
    .innerJoin(c, eq(c.id, m.conversationId))
    .leftJoin(t, eq(t.id, m.turnId))
    .where(and(eq(m.id, $.messageId), inScope(db, $)));
});

/** Throws 404 where the message is unknown or not the actor's to see. */
async function getAnswer(db: Db, actor: Actor, messageId: string) {
  const [row] = await db.all(selectAnswer, { ...actor, messageId });
  if (!row || row.message.deletedAt !== null) throw notFound("message");
  return row;
}

type Regenerate = {
  messageId: string;
  model: string | undefined;
  options?: TurnOptions | null;
  key: RequestKey | null;
  trace?: Trace | undefined;
  requestId?: string | null;
};

/**
 * Begins a new answer to the question of the newest one, asked of the same model if none is named. The old one stands in
 * the thread until the new one is whole, and is kept as superseded then. A key gives its turn again, and a new one where
 * that failed. Throws 404 as `getAnswer` does, 409 where the message is not the newest answer, is still being made, or its question was deleted.
 */
export async function regenerate(deps: TurnDeps, actor: Actor, asked: Regenerate): Promise<SeenTurn | LiveTurn> {
  const { messageId, model, options = null, key, trace, requestId = null } = asked;
  const { message, turn, questionSeq } = await getAnswer(deps.db, actor, messageId);
  if (message.role !== "assistant" || !turn) throw notLatest();
  const again = { turn: refOf(turn), questionSeq, model: model ?? turn.model, options, trace, requestId };
  const begun = await answerAgain(deps, actor, { ...again, newest: messageId, key, swap: null });
  if (begun) return begun;
  const earlier = key && (await settledUse(deps, actor, key));
  if (earlier && !earlier.failed) return joined(deps, earlier, () => regenerate(deps, actor, asked));
  const retry = earlier && { ...again, newest: null, key: null, swap: earlier.swap };
  const retried = retry && (await answerAgain(deps, actor, retry));
  if (retried) return retried;
  const { conversationId } = message;
  await refuse(deps, actor, { conversationId, ifBusy: "queue", mayWait: true });
  const busy = "The answer is still being made.";
  if (message.status === "in_progress") throw new AppError("conversation_busy", busy, { turnId: turn.id });
  throw notLatest();
}

const notLatest = () =>
  new AppError("not_latest", "Only the newest answer of a conversation can be made anew, while its question stands.");

const selectOthers = statement([...scopeSlots, "messageId", "conversationId", "questionId", "from"], (db, $) => {
  const { messages: m, turns: t } = db.tables;
  const part = firstPart(db, {
    where: and(
      eq(m.conversationId, $.conversationId),
      inScope(db, $),
      sql`exists (select 1 from ${t} where ${t.id} = ${m.turnId} and ${t.userMessageId} = ${$.questionId})`,
      eq(m.role, "assistant"),
      ne(m.id, $.messageId),
      inArray(m.status, ["completed", "incomplete"]),
      gt(m.size, 0),
      isNull(m.deletedAt),
      sql`${m.seq} >= cast(${$.from} as integer)`,
    ),
    order: ({ seq }) => [asc(seq)],
  });
  return db
    .select({ message: m, ahead: part.ahead, bytes: part.bytes })
    .from(part)
    .innerJoin(m, eq(m.id, part.id))
    .where(inPart(part))
    .orderBy(asc(m.seq));
});

/** The other answers to the question of an answer, oldest first, in parts. Throws 404 as `getAnswer` does. */
export async function listAlternatives(db: Db, actor: Actor, messageId: string): Promise<AsyncGenerator<Message[]>> {
  const { message, turn } = await getAnswer(db, actor, messageId);
  const questionId = turn && message.role === "assistant" ? turn.userMessageId : null;
  async function* others(): AsyncGenerator<Message[]> {
    let from = questionId === null ? undefined : 0;
    while (from !== undefined) {
      const { conversationId } = message;
      const rows = await db.all(selectOthers, { ...actor, messageId, conversationId, questionId, from });
      const last = mayGoOn(rows) ? rows.at(-1) : undefined;
      from = last && last.message.seq + 1;
      yield rows.map((row) => row.message);
    }
  }
  return others();
}
