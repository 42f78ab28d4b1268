import { parseArgs } from "node:util";

/** What every scenario is told, from one command line. Each takes of it what concerns it. */
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    /** Scenarios by name, comma-separated; all if it is left out. */
    only: { type: "string", default: "" },
    databases: { type: "string", default: "sqlite,postgres" },
    runtimes: { type: "string", default: "node,bun,binary" },
    rounds: { type: "string", default: "5" },
    /** Of one load in one round, and before it. A server that was never driven is warmed up three times as long. */
    seconds: { type: "string", default: "4" },
    warmup: { type: "string", default: "1" },
    /** In place of a scenario's own. */
    clients: { type: "string", default: "" },
    /** Turns until a client begins a new conversation; 0 never does. */
    turns: { type: "string", default: "16" },
    /** Streams that are opened at once. */
    streams: { type: "string", default: "1000,5000" },
    /** Who watch a session, and messages that they are sent in a round. */
    readers: { type: "string", default: "1000" },
    messages: { type: "string", default: "20" },
    /** Conversations that are written for one load of `redis`, and how long they are. */
    conversations: { type: "string", default: "256" },
    lengths: { type: "string", default: "10,50,500" },
    /** Clients that stall beside one that does not, and what that one asks in a round. */
    stalled: { type: "string", default: "500" },
    requests: { type: "string", default: "500" },
  },
});
if (positionals.length > 0) throw new Error(`what is ${positionals.join(" ")}? A scenario is named by --only`);

const names = (list: string) => list.split(",").filter((name) => name !== "");
const numbers = (list: string) => names(list).map(Number);

export const options = {
  only: names(values.only),
  databases: names(values.databases),
  runtimes: names(values.runtimes),
  rounds: Number(values.rounds),
  seconds: Number(values.seconds),
  warmup: Number(values.warmup),
  clients: numbers(values.clients),
  turns: Number(values.turns),
  streams: numbers(values.streams),
  readers: Number(values.readers),
  messages: Number(values.messages),
  conversations: Number(values.conversations),
  lengths: numbers(values.lengths),
  stalled: Number(values.stalled),
  requests: Number(values.requests),
};
