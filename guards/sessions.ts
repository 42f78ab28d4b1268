import type { Guard } from "./guard.ts";

const roles = "tests/http/session-roles.test.ts";
const gate = "tests/http/session-gate.test.ts";

/** Live sessions: who may see and do what, and that no model speaks where a person has the word. */
export const sessions: readonly Guard[] = [
  {
    threat: "API1",
    what: "the owner in the read of a session",
    file: "src/core/sessions.ts",
    from: ".from(c)\n    .where(and(eq(c.id, $.id), inScope(db, $)));",
    to: ".from(c)\n    .where(eq(c.id, $.id));",
    test: "tests/http/isolation.test.ts",
    name: "on SQLite",
  },
  {
    threat: "API1",
    what: "a desk is told of what is in its scope alone",
    file: "src/core/desks.ts",
    from: "if (isInScope(session, desk.scope)) desk.hear(session);",
    to: "desk.hear(session);",
    test: "tests/core/queue.test.ts",
    name: "out of its scope",
  },
  {
    threat: "API1",
    what: "the owner in the read of a message",
    file: "src/core/thread.ts",
    from: ".where(and(eq(m.id, $.id), inScope(db, $)));",
    to: ".where(eq(m.id, $.id));",
    test: "tests/http/isolation.test.ts",
    name: "on SQLite",
  },
  {
    threat: "API3",
    what: "a deleted message is blank",
    file: "src/http/sessions.ts",
    from: 'const isBlank = post.deletedAt !== null && sees !== "all";',
    to: 'const isBlank = post.deletedAt !== null && sees === "all";',
    test: "tests/http/isolation-deleted.test.ts",
  },
  {
    threat: "API5",
    what: "nobody speaks as somebody else",
    file: "src/routes/session-messages.ts",
    from: "    checkSender(actor, { role, senderId });\n",
    to: "",
    test: roles,
  },
  {
    threat: "API5",
    what: "a customer does not accept sessions",
    file: "src/core/session-moves.ts",
    from: 'return mover === "customer" ? staffOnly("accept a session") : accept(state, move.agentId);',
    to: "return accept(state, move.agentId);",
    test: roles,
  },
  {
    threat: "API6",
    what: "the gate: no model where a person has the word (batched)",
    file: "src/db/turn-begin.ts",
    from: 'ne(t.status, "ended"),\n        eq(t.control, "assistant"),\n        sql`${t.openTurns} <= cast(${$.room} as integer)`,\n      ),\n    )\n    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });\n});\n\n/** The same for an answer alone. */',
    to: "sql`${t.openTurns} <= cast(${$.room} as integer)`,\n      ),\n    )\n    .returning({ rev: t.rev, openTurns: t.openTurns, systemPrompt: t.systemPrompt });\n});\n\n/** The same for an answer alone. */",
    test: gate,
  },
  {
    threat: "API6",
    what: "the gate: no model where a person has the word (raw: Postgres)",
    file: "src/db/postgres-turns.ts",
    from: "and status <> 'ended' and control = 'assistant' and open_turns",
    to: "and open_turns",
    test: gate,
  },
];
