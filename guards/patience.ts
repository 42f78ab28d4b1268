import type { Guard } from "./guard.ts";

const slow = "tests/scenarios/slow-clients.test.ts";

/** How long clients may take, and how many may be there. */
export const patience: readonly Guard[] = [
  {
    threat: "API4",
    what: "headers have a deadline",
    file: "src/listen.ts",
    from: "headersTimeout: patience.headers,",
    to: "headersTimeout: 0,",
    test: slow,
    name: "on node, a client.*that says nothing",
  },
  {
    threat: "API4",
    what: "a whole request has a deadline",
    file: "src/listen.ts",
    from: "requestTimeout: patience.request,",
    to: "requestTimeout: 0,",
    test: slow,
    name: "on node, a service.*hangs up on a user",
  },
  {
    threat: "API4",
    what: "an answer that nobody takes has a deadline",
    file: "src/listen.ts",
    from: "cutWhoTakesNothing(server, patience.idle);",
    to: "",
    test: slow,
    name: "on node, a client.*that does not take a file",
  },
  {
    threat: "API4",
    what: "on Bun a connection has its deadline again after a turn",
    file: "src/listen.ts",
    from: "return () => server.timeout(request, idleTimeout);",
    to: "return () => {};",
    test: slow,
    name: "on bun, a client.*that keeps",
  },
  {
    threat: "API4",
    what: "connections have a cap (Node)",
    file: "src/listen.ts",
    from: "server.maxConnections = MAX_CONNECTIONS;",
    to: "",
    test: slow,
    name: "on node, a service.*takes no more",
  },
  {
    threat: "API4",
    what: "requests at once have a cap (Bun)",
    file: "src/listen.ts",
    from: "if (bun.pendingRequests > MAX_CONNECTIONS) return beFull();",
    to: "",
    test: slow,
    name: "on bun, a service.*takes no more",
  },
];
