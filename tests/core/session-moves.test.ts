import { describe, expect, it } from "vitest";
import {
  bornState,
  type Move,
  type Mover,
  moveSession,
  noteOf,
  type SessionState,
} from "../../src/core/session-moves.ts";

const state = (status: SessionState["status"], control: SessionState["control"], agentId: string | null = null) => ({
  status,
  control,
  agentId,
});

/** Every state that a session can be in; Ann is one agent, Ben the other. */
const STATES = {
  assistant: state("active", "assistant"),
  "born with Ann": state("active", "agent", "ann"),
  queue: state("transferred", "queue"),
  Ann: state("transferred", "agent", "ann"),
  "ended by the assistant's side": state("ended", "assistant"),
  "ended in line": state("ended", "queue"),
  "ended with Ann": state("ended", "agent", "ann"),
} as const satisfies Record<string, SessionState>;
type Where = keyof typeof STATES;

const MOVES = {
  ask: { to: "agent", agentId: null },
  "assign Ann": { to: "agent", agentId: "ann" },
  "assign Ben": { to: "agent", agentId: "ben" },
  "accept as Ann": { to: "accept", agentId: "ann" },
  "accept as Ben": { to: "accept", agentId: "ben" },
  "hand back": { to: "assistant" },
  end: { to: "end" },
} as const satisfies Record<string, Move>;
type What = keyof typeof MOVES;

const ANN = state("transferred", "agent", "ann");
const BEN = state("transferred", "agent", "ben");
const QUEUE = STATES.queue;
const BACK = STATES.assistant;

/** What may be done and where it leads; "same" is a move to where the session is. All else is refused. */
const LAWFUL: Record<Mover, Partial<Record<Where, Partial<Record<What, SessionState | "same">>>>> = {
  customer: {
    assistant: { ask: QUEUE, end: state("ended", "assistant") },
    "born with Ann": { end: state("ended", "agent", "ann") },
    queue: { end: state("ended", "queue") },
    Ann: { end: state("ended", "agent", "ann") },
    "ended by the assistant's side": { end: "same" },
    "ended in line": { end: "same" },
    "ended with Ann": { end: "same" },
  },
  staff: {
    assistant: { ask: QUEUE, "assign Ann": ANN, "assign Ben": BEN, end: state("ended", "assistant") },
    "born with Ann": {
      ask: QUEUE,
      "assign Ann": "same",
      "assign Ben": BEN,
      "accept as Ann": "same",
      "hand back": BACK,
      end: state("ended", "agent", "ann"),
    },
    queue: {
      "assign Ann": ANN,
      "assign Ben": BEN,
      "accept as Ann": ANN,
      "accept as Ben": BEN,
      "hand back": BACK,
      end: state("ended", "queue"),
    },
    Ann: {
      ask: QUEUE,
      "assign Ann": "same",
      "assign Ben": BEN,
      "accept as Ann": "same",
      "hand back": BACK,
      end: state("ended", "agent", "ann"),
    },
    "ended by the assistant's side": { end: "same" },
    "ended in line": { end: "same" },
    "ended with Ann": { end: "same" },
  },
};

/** Why all else is refused, the first that is true. */
function reason(mover: Mover, where: Where, what: What): string {
  if (STATES[where].status === "ended") return "session_ended";
  if (mover === "customer" && what !== "ask") return "forbidden";
  const isTaken = STATES[where].control === "agent" && what === "accept as Ben";
  return isTaken ? "already_accepted" : "unlawful_move";
}

const all = (["customer", "staff"] as const).flatMap((mover) =>
  (Object.keys(STATES) as Where[]).flatMap((where) =>
    (Object.keys(MOVES) as What[]).map((what) => ({ mover, where, what })),
  ),
);

describe("a move", () => {
  it("is tried from every state, by everybody", () => expect(all).toHaveLength(2 * 7 * 7));

  it.each(all)("of $mover, to $what where it is: $where", ({ mover, where, what }) => {
    const moved = moveSession(STATES[where], MOVES[what], mover);
    const wanted = LAWFUL[mover][where]?.[what];
    if (wanted === "same") expect(moved).toEqual({ kind: "unchanged" });
    else if (wanted) expect(moved).toEqual({ kind: "moved", state: wanted });
    else expect(moved).toEqual({ kind: "refused", code: reason(mover, where, what), detail: expect.any(String) });
  });

  it.each(all)("changes nothing of what it is given: $mover, $what, $where", ({ mover, where, what }) => {
    const before = structuredClone(STATES[where]);
    moveSession(STATES[where], MOVES[what], mover);
    expect(STATES[where]).toEqual(before);
  });

  it("that is unlawful is told where the session is", () => {
    const details = (["assistant", "queue", "Ann"] as const).map((where) => {
      const refused = moveSession(STATES[where], where === "Ann" ? MOVES.ask : MOVES["assign Ann"], "customer");
      const asked = moveSession(STATES[where], MOVES.ask, where === "assistant" ? "staff" : "customer");
      return [refused, asked].map((one) => ("detail" in one ? one.detail : one.kind));
    });
    expect(details).toEqual([
      ["Only an agent or an admin may name the agent.", "moved"],
      ["Only an agent or an admin may name the agent.", "The session cannot make this move: it waits for an agent."],
      [
        "The session cannot make this move: an agent is in control.",
        "The session cannot make this move: an agent is in control.",
      ],
    ]);
  });

  it("begins with whom a session is made: with an agent, or with the assistant", () => {
    expect(bornState(null)).toEqual(STATES.assistant);
    expect(bornState("ann")).toEqual(STATES["born with Ann"]);
  });

  it("leaves a note for people, which says what came of it", () => {
    const notes = [
      noteOf(STATES.assistant, QUEUE),
      noteOf(QUEUE, ANN),
      noteOf(ANN, BEN),
      noteOf(STATES.assistant, ANN),
      noteOf(ANN, BACK),
      noteOf(ANN, state("ended", "agent", "ann")),
    ];
    expect(notes).toEqual([
      "The conversation waits for an agent.",
      "An agent has joined.",
      "The conversation was handed to an agent.",
      "The conversation was handed to an agent.",
      "The assistant has taken over.",
      "The session has ended.",
    ]);
  });
});
