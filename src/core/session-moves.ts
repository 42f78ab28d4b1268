import type { Conversation } from "../db/tables.ts";

/** Who is in control of a session, and how it may change hands: functions of their arguments alone. */

export type SessionState = Pick<Conversation, "status" | "control" | "agentId">;

/** What somebody wants of a session. An `agentId` of null leaves it to whoever accepts. */
export type Move =
  | { to: "agent"; agentId: string | null }
  | { to: "assistant" }
  | { to: "end" }
  | { to: "accept"; agentId: string };

/** A customer asks, an agent or an admin decides. */
export type Mover = "customer" | "staff";

export type Refusal = "session_ended" | "already_accepted" | "unlawful_move" | "forbidden";

/** Where a move leads: to another state, to the same one again, or nowhere. */
export type Moved =
  | { kind: "moved"; state: SessionState }
  | { kind: "unchanged" }
  | { kind: "refused"; code: Refusal; detail: string };

/** What a session is born as: an agent that is named is in control at once. */
export const bornState = (agentId: string | null): SessionState => ({
  status: "active",
  control: agentId === null ? "assistant" : "agent",
  agentId,
});

/** Every lawful move. All else is refused, and `detail` names the state that forbids it. */
export function moveSession(state: SessionState, move: Move, mover: Mover): Moved {
  if (move.to === "end") {
    return state.status === "ended" ? { kind: "unchanged" } : moved({ ...state, status: "ended" });
  }
  if (state.status === "ended") return refused("session_ended", "The session has ended, for good.");
  switch (move.to) {
    case "agent":
      return mover === "customer" ? ask(state, move.agentId) : assign(state, move.agentId);
    case "accept":
      return mover === "customer" ? staffOnly("accept a session") : accept(state, move.agentId);
    case "assistant":
      return mover === "customer" ? staffOnly("hand a session back") : handBack(state);
  }
}

/** A customer may ask once for whichever agent is free. */
function ask(state: SessionState, agentId: string | null): Moved {
  if (agentId !== null) return staffOnly("name the agent");
  if (state.control === "assistant") return moved({ status: "transferred", control: "queue", agentId: null });
  return unlawful(state);
}

function assign(state: SessionState, agentId: string | null): Moved {
  if (agentId === null) {
    // In line already: it keeps its place.
    if (state.control === "queue") return unlawful(state);
    return moved({ status: "transferred", control: "queue", agentId: null });
  }
  if (state.control === "agent" && state.agentId === agentId) return { kind: "unchanged" };
  return moved({ status: "transferred", control: "agent", agentId });
}

function accept(state: SessionState, agentId: string): Moved {
  if (state.control === "queue") return moved({ status: "transferred", control: "agent", agentId });
  if (state.control === "assistant") return unlawful(state);
  if (state.agentId === agentId) return { kind: "unchanged" };
  return refused("already_accepted", "Another agent has accepted the session.");
}

function handBack(state: SessionState): Moved {
  if (state.control === "assistant") return unlawful(state);
  return moved({ status: "active", control: "assistant", agentId: null });
}

const WHERE_IT_IS = {
  assistant: "the assistant is in control",
  queue: "it waits for an agent",
  agent: "an agent is in control",
} as const satisfies Record<SessionState["control"], string>;

const moved = (state: SessionState): Moved => ({ kind: "moved", state });
const refused = (code: Refusal, detail: string): Moved => ({ kind: "refused", code, detail });
const staffOnly = (what: string): Moved => refused("forbidden", `Only an agent or an admin may ${what}.`);
const unlawful = ({ control }: SessionState): Moved =>
  refused("unlawful_move", `The session cannot make this move: ${WHERE_IT_IS[control]}.`);

/** The note in the thread that marks a move, for people. */
export function noteOf(before: SessionState, after: SessionState): string {
  if (after.status === "ended") return "The session has ended.";
  if (after.control === "queue") return "The conversation waits for an agent.";
  if (after.control === "assistant") return "The assistant has taken over.";
  return before.control === "queue" ? "An agent has joined." : "The conversation was handed to an agent.";
}
