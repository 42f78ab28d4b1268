import type { Actor } from "../../src/core/identity.ts";
import type { LiveTurn } from "../../src/core/live.ts";
import type { Db } from "../../src/db/db.ts";
import type { Conversation } from "../../src/db/tables.ts";
import { begin, type Instance, lapse, newConversation, send, startInstance } from "./core-instance.ts";
import type { Call } from "./core-models.ts";

/** A process with a running turn, whose model is held, and turns in line behind it. */
export type Line = {
  process: Instance;
  conversation: { owner: Actor; id: string; read(): Promise<Conversation> };
  running: LiveTurn;
  call: Call;
  line: LiveTurn[];
  /** Ends the process as power does, and lets its leases run out. */
  kill(): Promise<void>;
};

/** So many in line, behind "Question 0"; asked of `model`, as long as they are in line. */
export async function givenLine(db: Db, waiting: number, model?: string): Promise<Line> {
  const { db: own, die } = mortal(db);
  const process = startInstance(own);
  const conversation = await newConversation(db);
  const { owner, id } = conversation;
  const running = await send(process, conversation, "Question 0");
  const call = await process.models.call(1);
  const line: LiveTurn[] = [];
  for (let i = 1; i <= waiting; i++) {
    line.push(await begin(process, owner, { conversationId: id, content: `Question ${i}`, model }));
  }
  const kill = () => {
    die();
    return lapse(db, running, ...line);
  };
  return { process, conversation, running, call, line, kill };
}

/** The database of a process that can die: from then on it neither reads nor writes. */
function mortal(db: Db): { db: Db; die(): void } {
  let isDead = false;
  const alive = async <T>(work: () => Promise<T>): Promise<T> => {
    if (isDead) throw new Error("this process is dead");
    return work();
  };
  const writes = db.turnWrites;
  const own: Db = {
    ...db,
    all: (...read) => alive(() => db.all(...read)),
    batch: (steps) => alive(() => db.batch(steps)),
    turnWrites: {
      begin: (...input) => alive(() => writes.begin(...input)),
      beginAgain: (input) => alive(() => writes.beginAgain(input)),
      finish: (input) => alive(() => writes.finish(input)),
    },
  };
  return {
    db: own,
    die() {
      isDead = true;
    },
  };
}
