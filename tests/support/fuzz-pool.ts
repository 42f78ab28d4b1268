import type { Called } from "./app.ts";
import type { Operation } from "./fuzz-document.ts";
import { NOBODY } from "./http-expect.ts";
import { framesOf } from "./http-stream.ts";

/** What earlier answers gave, for later requests to go on with. */
export type Pool = {
  learn(owner: string, operation: Operation, called: Called): void;
  forget(path: string): void;
  /** A text with its tokens replaced; undefined where it stands for a cursor and none was given yet. */
  resolve(owner: string, text: string): string | undefined;
};

/** How many of the newest are picked from: few, so that one conversation sees several requests. */
const NEWEST = 6;
const TOKEN = /⟨([^:⟩]+):(\d+)⟩/gu;
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

/** Stands for one of the ids or cursors of a kind, until the request is sent. */
export const token = (kind: string, pick: number): string => `⟨${kind}:${pick}⟩`;

/** What an id is called, by its name and what stands before it in a path: `/conversations/{id}`. */
export function kindOf(name: string, before = ""): string {
  const kind = name === "id" ? before.replace(/s$/, "") : name.replace(/_id$/, "");
  if (kind === "chat" || kind === "session") return "conversation"; // one row under three names
  return kind === "user_message" ? "message" : kind;
}

export const cursorKind = ({ path }: Operation): string => `after ${path}`;

export function createPool(): Pool {
  const seen: { owner: string; kind: string; id: string }[] = [];
  const add = (owner: string, kind: string, id: string) => {
    if (!seen.slice(-200).some((one) => one.id === id && one.kind === kind)) seen.push({ owner, kind, id });
  };

  function walk(owner: string, value: unknown): void {
    if (typeof value !== "object" || value === null) return;
    for (const [name, inner] of Object.entries(value)) {
      if (typeof inner === "string" && UUID.test(inner)) add(owner, kindOf(name, setOf(value)), inner);
      else walk(owner, inner);
    }
  }

  function pick(owner: string, kind: string, at: number): string | undefined {
    const ofKind = seen.filter((one) => one.kind === kind);
    const own = ofKind.filter((one) => one.owner === owner);
    const from = (at % 8 === 0 || own.length === 0 ? ofKind : own).slice(-NEWEST);
    return from[at % from.length]?.id;
  }

  return {
    learn(owner, operation, { json, headers, text }) {
      const isStream = headers.get("content-type")?.startsWith("text/event-stream");
      walk(owner, isStream ? framesOf(text).map(({ data }) => data) : json);
      const link = /[?&]after=([^&>]+)/.exec(headers.get("link") ?? "")?.[1];
      const cursor = link === undefined ? json?.next_cursor : decodeURIComponent(link);
      if (typeof cursor === "string") add(owner, cursorKind(operation), cursor);
    },
    forget(path) {
      for (let i = seen.length - 1; i >= 0; i--) if (path.includes(seen[i]?.id ?? "/")) seen.splice(i, 1);
    },
    resolve(owner, text) {
      let missing = false;
      const resolved = text.replace(TOKEN, (_, kind: string, at: string) => {
        const id = pick(owner, kind, Number(at));
        missing ||= id === undefined && kind.startsWith("after ");
        return id ?? NOBODY;
      });
      return missing ? undefined : resolved;
    },
  };
}

/** Of what a bare `id` is the id, by the fields beside it. */
function setOf(object: object): string {
  if ("attempts" in object) return "turns";
  if ("extension_type" in object) return "extensions";
  return "title" in object || "messages" in object ? "conversations" : "messages";
}
