import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import type { CallKind } from "../../src/stream-chat/quota.ts";
import { answererOf, type Call, type Entry, type Fault } from "./stream-chat-answers.ts";
import { type App, createCounter } from "./stream-chat-gate.ts";
import { createHooks, type Hooks } from "./stream-chat-hooks.ts";
import { type Channel, createState, type State } from "./stream-chat-state.ts";
import { type StreamUser, userOf } from "./stream-chat-user.ts";

export type FakeStream = App & {
  url: string;
  /** What makes Parley use it. */
  env: Record<"STREAM_API_KEY" | "STREAM_SECRET" | "STREAM_BASE_URL", string>;
  /** Every call, in the order in which they came. */
  calls: Call[];
  log: Entry[];
  hooks: Hooks;
  state: State;
  channel(id: string): Channel | undefined;
  /** `type: userIds` of a message's reactions. */
  reactions(messageId: string): Record<string, string[]>;
  as(userId: string): StreamUser;
  /** How many calls of a kind a window lets through. */
  limit(kind: CallKind, count: number): void;
  /** What happens to each next call; until then it is answered. */
  behave(fault: (call: Call) => Fault | undefined): void;
  /** Nobody listens, and whoever is connected is cut off; until `up`. */
  down(): Promise<void>;
  up(): Promise<void>;
  close(): Promise<void>;
};

type Options = Partial<Pick<State, "maxMessageLength" | "lengthOf" | "tooLong">> & { windowMs?: number; port?: number };

/** A faithful Stream Chat on a port of its own, with an empty app. */
export async function startStream(options: Options = {}): Promise<FakeStream> {
  const {
    windowMs = 60_000,
    maxMessageLength = 5_000,
    lengthOf = (text) => [...text].length,
    tooLong = "code",
  } = options;
  const app: App = { apiKey: "stream-key-of-the-tests", secret: "stream-secret-of-the-tests" };
  const hooks = createHooks(app);
  const log: Entry[] = [];
  const state = createState({
    ...{ maxMessageLength, lengthOf, tooLong },
    happen({ channel, by, ...event }) {
      log.push({ event: structuredClone({ ...event, cid: channel.cid, ...(by && { user: by }) }) });
      hooks.tell(state, { ...event, channel, by });
    },
  });
  const calls: Call[] = [];
  const counter = createCounter(windowMs);
  let fault: (call: Call) => Fault | undefined = () => undefined;
  const answer = answererOf({ app, state, counter, calls, log, faultOf: (call) => fault(call) });
  let server = await listen(createServer(answer), options.port ?? 0);
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  const down = () => shut(server);
  return {
    ...{ ...app, url, calls, log, hooks, state, down },
    env: { STREAM_API_KEY: app.apiKey, STREAM_SECRET: app.secret, STREAM_BASE_URL: url },
    channel: (id) => state.channels.get(id),
    reactions(messageId) {
      const found = state.reactions.filter((one) => one.message_id === messageId);
      const byType = Object.entries(Object.groupBy(found, (one) => one.type));
      return Object.fromEntries(byType.map(([type, of]) => [type, of?.map((one) => one.user_id) ?? []]));
    },
    as: (userId) => userOf(state, userId),
    limit: counter.limit,
    behave(next) {
      fault = next;
    },
    async up() {
      server = await listen(createServer(answer), port);
    },
    async close() {
      hooks.to(null);
      await down();
    },
  };
}

async function listen(server: Server, port: number): Promise<Server> {
  await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
  return server;
}

function shut(server: Server): Promise<void> {
  return new Promise((resolve) => {
    server.close(() => resolve());
    server.closeAllConnections();
  });
}
