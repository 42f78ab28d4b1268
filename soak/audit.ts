import type { Db } from "../src/db/db.ts";
import type { Message, Turn } from "../src/db/tables.ts";
import { type AskedOf, markOf } from "./answers.ts";
import type { Ledger, Sent } from "./ledger.ts";

export type Findings = {
  acknowledged: number;
  found: number;
  lost: number;
  doubled: number;
  turns: Record<string, number>;
  /** A line for everything that is not as it was promised. */
  wrong: string[];
};

type Stored = { messages: Message[]; turns: Turn[] };

/** Holds what the clients were told to what the database has, once nothing runs any more. */
export async function audit(db: Db, ledger: Ledger, asked: AskedOf): Promise<Findings> {
  const [messages, turns] = await Promise.all([
    db.select().from(db.tables.messages),
    db.select().from(db.tables.turns),
  ]);
  const stored = { messages, turns };
  const times = countBy(
    messages.filter(({ role }) => role === "user"),
    ({ content }) => content,
  );
  const acknowledged = ledger.sent.filter((sent) => sent.acknowledged);
  const lost = acknowledged.filter(({ text }) => !times.has(text));
  const doubled = [...times].filter(([, count]) => count > 1);
  return {
    acknowledged: acknowledged.length,
    found: acknowledged.length - lost.length,
    lost: lost.length,
    doubled: doubled.length,
    turns: Object.fromEntries(countBy(turns, ({ status }) => status)),
    wrong: [
      ...ledger.unexpected,
      ...lost.map(({ mark }) => `${mark} was acknowledged and is not stored`),
      ...doubled.map(([text, count]) => `${markOf(text)} is stored ${count} times`),
      ...turns.flatMap((turn) => (turn.completedAt === null ? [`turn ${turn.id} is ${turn.status}`] : [])),
      ...ledger.sent.flatMap((sent) => wrongAnswers(sent, stored, asked)),
      ...wrongTexts(ledger, stored),
    ],
  };
}

/** A message whose sender has gone away content has one whole answer, and was asked about no more after that. */
function wrongAnswers({ mark, text, answered }: Sent, { messages, turns }: Stored, asked: AskedOf): string[] {
  const question = messages.find(({ role, content }) => role === "user" && content === text);
  const own = turns.filter(({ userMessageId }) => userMessageId === question?.id);
  const completed = own.filter(({ status }) => status === "completed");
  const requests = asked.get(mark) ?? [];
  const wrong: string[] = [];
  const mustNot = (is: boolean, what: string) => is && wrong.push(`${mark} ${what}`);
  mustNot(completed.length > 1, `has ${completed.length} completed turns`);
  mustNot(requests.length > own.length, `was asked about ${requests.length} times in ${own.length} turns`);
  mustNot(completed.length > 0 && own.at(-1) !== undefined && newest(own)?.status !== "completed", "was run again");
  if (answered) {
    mustNot(!completed.some(({ id }) => id === answered.turnId), "was answered by a turn that is not completed");
    mustNot(
      requests.some(({ at }) => at > answered.at),
      "was asked about after it had been answered",
    );
    mustNot(!requests.some((request) => request.text === answered.text), "got an answer that nobody gave");
  }
  for (const { messageId, status } of own) {
    const kept = messages.find(({ id }) => id === messageId)?.content ?? "";
    const isPart = requests.some((request) =>
      status === "completed" ? request.text === kept : request.text.startsWith(kept),
    );
    mustNot(kept !== "" && !isPart, `has an answer that nobody gave: ${kept}`);
  }
  return wrong;
}

const newest = (turns: readonly Turn[]): Turn | undefined => turns.toSorted((a, b) => (a.id < b.id ? -1 : 1)).at(-1);

/** Everything that a client put together or was given is what is stored. */
function wrongTexts({ read, sent }: Ledger, { messages, turns }: Stored): string[] {
  const texts = new Map(messages.map(({ id, content }) => [id, content]));
  const stored = new Map(turns.map(({ id, messageId }) => [id, texts.get(messageId)]));
  const answered = sent.flatMap((one) => one.answered ?? []);
  const ends = new Map(turns.map(({ id, status }) => [id, status]));
  return [
    ...[...read, ...answered].flatMap(({ turnId, text }) =>
      stored.get(turnId) === text ? [] : [`turn ${turnId}: read "${text}", stored "${stored.get(turnId)}"`],
    ),
    ...read.flatMap(({ turnId, status }) =>
      ends.get(turnId) === status ? [] : [`turn ${turnId}: told to be ${status}, stored as ${ends.get(turnId)}`],
    ),
  ];
}

function countBy<T>(all: readonly T[], keyOf: (one: T) => string): Map<string, number> {
  const counts = new Map<string, number>();
  for (const one of all) counts.set(keyOf(one), (counts.get(keyOf(one)) ?? 0) + 1);
  return counts;
}
