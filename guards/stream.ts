import type { Guard } from "./guard.ts";

/** Who is who at Stream Chat, and what is no command there. */
export const stream: readonly Guard[] = [
  {
    threat: "API5",
    what: "a token for Stream Chat is one's own, whatever the role",
    file: "src/routes/stream.ts",
    from: 'if (actor.userId !== actor.self) throw new AppError("forbidden", "A token is for one\'s own user.");',
    to: "",
    test: "tests/http/stream.test.ts",
    name: "nobody else's",
  },
  {
    threat: "API5",
    what: "nobody speaks as the assistant at Stream Chat",
    file: "src/stream-chat/tokens.ts",
    from: "if (userId === assistantId) throw",
    to: "if (false) throw",
    test: "tests/http/stream.test.ts",
    name: "never the assistant's",
  },
  {
    threat: "API2",
    what: "two users never have one id at Stream Chat",
    file: "src/stream-chat/users.ts",
    from: " && !userId.startsWith(ENCODED) && !userId.startsWith(HASHED)",
    to: "",
    test: "tests/stream-chat/users.test.ts",
    name: "written with what Stream takes",
  },
  {
    threat: "LLM10",
    what: "no text is run as a command of Stream Chat",
    file: "src/stream-chat/messages.ts",
    from: 'text.startsWith("/")',
    to: "false",
    test: "tests/stream-chat/client.test.ts",
    name: "take for a command",
  },
];
