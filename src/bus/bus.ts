import { randomUUID } from "node:crypto";
import { z } from "zod";
import type { Bus, Note } from "../core/notes.ts";
import type { Carrier } from "../db/carrier.ts";

export type OpenBus = Bus & { close(): Promise<void> };

/** Notes that come within this time go to the others together, in milliseconds. */
const TOGETHER_MS = 20;
/** Of an id in a text, with its quotes and comma. */
const ID_BYTES = 40;

const letter = z.object({
  from: z.string(),
  changed: z.array(z.string()).default([]),
  typing: z.array(z.object({ conversationId: z.string(), senderId: z.string(), typing: z.boolean() })).default([]),
});
type Letter = z.input<typeof letter>;

type Log = { warn(fields: object, message: string): void };

/** Notes within this process at once, and to others by way of `carrier`, a moment later. */
export async function openBus(carrier: Carrier | null, log: Log): Promise<OpenBus> {
  const self = randomUUID();
  const listeners = new Set<Parameters<Bus["listen"]>[0]>();
  const hear = (note: Note, from: "here" | "elsewhere") => {
    for (const listener of listeners) listener(note, from);
  };
  const post = carrier && postBox(carrier, { self, log });
  const unsubscribe = await carrier
    ?.subscribe((text) => {
      for (const note of notesIn(text, self)) hear(note, "elsewhere");
    })
    .catch((error) => log.warn({ err: error }, "notes of others are not heard; their changes are seen a moment later"));
  return {
    send(note) {
      hear(note, "here");
      post?.put(note);
    },
    listen(listener) {
      listeners.add(listener);
      return () => void listeners.delete(listener);
    },
    async close() {
      listeners.clear();
      await post?.close();
      await unsubscribe?.().catch(() => {}); // its connection may be lost already
    },
  };
}

function notesIn(text: string, self: string): Note[] {
  const { data } = letter.safeParse(parsed(text));
  if (!data || data.from === self) return [];
  return [
    ...data.changed.map((conversationId) => ({ type: "changed" as const, conversationId })),
    ...data.typing.map((typing) => ({ type: "typing" as const, ...typing })),
  ];
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // somebody else's
  }
}

/** Gathers notes, and sends them off together: each changed conversation once. */
function postBox(carrier: Carrier, { self, log }: { self: string; log: Log }) {
  const changed = new Set<string>();
  let typing: Letter["typing"] = [];
  let timer: NodeJS.Timeout | undefined;

  async function sendOff(): Promise<void> {
    clearTimeout(timer);
    timer = undefined;
    const ids = [...changed];
    const most = Math.floor(carrier.longest / ID_BYTES) - 3;
    const letters: Letter[] = typing?.length ? [{ from: self, typing }] : [];
    for (let i = 0; i < ids.length; i += most) letters.push({ from: self, changed: ids.slice(i, i + most) });
    changed.clear();
    typing = [];
    const lost = (error: unknown) => log.warn({ err: error }, "a note to the others was lost");
    await Promise.all(letters.map((one) => carrier.publish(JSON.stringify(one)).catch(lost)));
  }
  return {
    put(note: Note): void {
      if (note.type === "changed") changed.add(note.conversationId);
      else if (carrier.carriesTyping) typing?.push(note);
      else return;
      timer ??= setTimeout(sendOff, TOGETHER_MS);
    },
    /** Sends off what waits. */
    close: sendOff,
  };
}
