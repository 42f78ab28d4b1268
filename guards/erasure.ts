import type { Guard } from "./guard.ts";

const nothingLeft = "tests/core/nothing-left.test.ts";
const users = "tests/http/users.test.ts";

/** What is deleted is gone, and whose it is to erase and to list. */
export const erasure: readonly Guard[] = [
  {
    threat: "API1",
    what: "that nobody finds a conversation while it is cleared away",
    file: "src/db/scope.ts",
    from: " and ${t.userId} <> '')`",
    to: ")`",
    test: nothingLeft,
    name: "SQLite.*nobody finds anything",
  },
  {
    threat: "API3",
    what: "that what was deleted is overwritten in the file",
    file: "src/db/sqlite.ts",
    from: 'client.pragma("secure_delete = ON");',
    to: "",
    test: nothingLeft,
    name: "SQLite.*no word is left",
  },
  {
    threat: "API3",
    what: "that what was deleted leaves the log",
    file: "src/db/sqlite.ts",
    from: 'if (file.now() === "ours") emptyLog(client);',
    to: "void emptyLog;",
    test: nothingLeft,
    name: "SQLite.*no word is left",
  },
  {
    threat: "API3",
    what: "that a deletion blanks what turns were asked for",
    file: "src/core/clearing.ts",
    from: ".set({ options: null })",
    to: ".set({ restarts: 0 })",
    test: nothingLeft,
    name: "on SQLite",
  },
  {
    threat: "API5",
    what: "that an agent neither takes nor erases what is a user's",
    file: "src/core/erasure.ts",
    from: 'if (sees === "live") throw',
    to: 'if (sees === "live" && Date.now() === 0) throw',
    test: users,
    name: "SQLite.*is for the user itself",
  },
  {
    threat: "API5",
    what: "that users are listed for admins",
    file: "src/routes/users.ts",
    from: 'adminOnly(c.get("principal"));',
    to: "",
    test: users,
    name: "SQLite.*walk through all users",
  },
  {
    threat: "API5",
    what: "that all conversations are listed for admins",
    file: "src/routes/overview.ts",
    from: 'adminOnly(c.get("principal"));',
    to: "",
    test: users,
    name: "SQLite.*walk through all users",
  },
];
