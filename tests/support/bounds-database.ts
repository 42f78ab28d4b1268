import { sql } from "drizzle-orm";
import type { Db } from "../../src/db/db.ts";
import { openDatabase, parseDatabaseUrl } from "../../src/db/index.ts";

/** What a message may hold, in bytes. */
export const LONGEST = 131_072;

export type Filled = { thread: string; threads: string[] };

/** Fills an SQLite database with the longest messages of one user: a thread of so many, and so many threads of twenty. */
export async function fillWithLongest(
  url: string,
  { user, messages, threads }: { user: string; messages: number; threads: number },
): Promise<Filled> {
  const db = await openDatabase(parseDatabaseUrl(url), { synchronous: "normal" });
  const thread = await longThread(db, user, messages);
  const others: string[] = [];
  for (let i = 0; i < threads; i++) others.push(await longThread(db, user, 20));
  await db.close();
  return { thread, threads: others };
}

async function longThread(db: Db, user: string, messages: number): Promise<string> {
  const { conversations: c, messages: m } = db.tables;
  const id = crypto.randomUUID();
  const now = Date.now();
  await db.insert(c).values({
    id,
    userId: user,
    title: "long",
    isLive: true,
    rev: messages,
    lastSeq: messages,
    messageCount: messages,
    createdAt: now,
    updatedAt: now,
  });
  for (let seq = 1; seq <= messages; seq++) {
    const content = sql<string>`replace(hex(zeroblob(${LONGEST / 2})), '00', 'ab')`;
    const role = seq % 2 === 1 ? ("user" as const) : ("assistant" as const);
    const row = { conversationId: id, seq, rev: seq, role, senderId: user, content, status: "completed" as const };
    await db.insert(m).values({ id: crypto.randomUUID(), ...row, createdAt: now });
  }
  return id;
}
