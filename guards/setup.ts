import type { Guard } from "./guard.ts";

const secrets = "tests/config/secrets.test.ts";

/** What the operator's secrets and the process are safe from. */
export const setup: readonly Guard[] = [
  {
    threat: "API8",
    what: "the log cuts out secrets, whatever an error says",
    file: "src/http/log.ts",
    from: "hooks: { streamWrite: hiding(secrets) }, // whatever an error says",
    to: "",
    test: secrets,
  },
  {
    threat: "API8",
    what: "the log cuts out fields that hold credentials",
    file: "src/http/log.ts",
    from: '"*.authorization", ',
    to: "",
    test: secrets,
    name: "by their names",
  },
  {
    threat: "API8",
    what: "the log has of an error what it is, and nothing that hangs on it",
    file: "src/http/log.ts",
    from: "serializers: { err: plainError },",
    to: "serializers: { err: (error: object) => ({ ...error, message: String(error) }) },",
    test: secrets,
    name: "by their names",
  },
  {
    threat: "API8",
    what: "passwords and keys in addresses are secrets",
    file: "src/secrets.ts",
    from: "if (!url) return [];",
    to: "return [];",
    test: secrets,
  },
  {
    threat: "API8",
    what: "an orphaned rejection ends nobody's turns",
    file: "src/serve.ts",
    from: '  process.on("unhandledRejection", (error) => log.error({ err: error }, "a rejection that nobody handled"));\n',
    to: "",
    test: secrets,
    name: "json",
  },
  {
    threat: "API8",
    what: "the log has a route's pattern, and nothing that a path or a query says",
    file: "src/http/log.ts",
    from: "route: routePath(c, -1)",
    to: "route: c.req.url",
    test: "tests/config/logs.test.ts",
    name: "requests that are refused",
  },
];
