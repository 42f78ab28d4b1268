import { ANSWERS, CANCELLED, FAILED, type Fault, HALF } from "./fault.ts";
import { tokens } from "./runpod-outputs.ts";

const queued = { status: "IN_QUEUE" };
const worked = [
  ...ANSWERS.runpod.map((word) => ({ status: "IN_PROGRESS", puts: [tokens([word])] })),
  { status: "COMPLETED" },
];

export const workers: readonly Fault[] = [
  {
    what: "RunPod queue, longer than a silence",
    chain: ["runpod", "groq"],
    runpod: { life: [...Array(9).fill(queued), ...worked] },
    ends: "runpod",
    attempts: ["runpod completed"],
    statuses: ["queued"],
    timers: "first",
  },
  {
    what: "RunPod failure",
    chain: ["runpod", "groq"],
    runpod: { life: [queued, { status: "FAILED" }] },
    ends: "groq",
    attempts: ["runpod stream_incomplete", "groq completed"],
    statuses: ["queued"],
  },
  {
    what: "RunPod failure, no other target",
    chain: ["runpod"],
    runpod: { life: [queued, { status: "IN_PROGRESS", puts: [tokens(HALF)] }, { status: "FAILED" }] },
    ends: { ...FAILED, kept: /^Half an $/ },
    attempts: ["runpod stream_incomplete"],
    statuses: ["queued"],
  },
  {
    what: "RunPod job that puts out nothing",
    chain: ["runpod", "groq"],
    runpod: { life: [queued, { status: "IN_PROGRESS" }] },
    ends: "groq",
    attempts: ["runpod timeout_first_token", "groq completed"],
    statuses: ["queued"],
    timers: "first",
  },
  {
    what: "RunPod cold start",
    chain: ["runpod"],
    alone: true,
    runpod: { life: [...Array(4).fill(queued), ...worked], workers: { initializing: 1 } },
    ends: "runpod",
    attempts: ["runpod completed"],
    statuses: ["starting"],
  },
  {
    what: "RunPod job cancelled in the queue",
    chain: ["runpod"],
    runpod: { life: [queued] },
    cancel: "queued",
    ends: CANCELLED,
    attempts: ["runpod cancelled"],
    statuses: ["queued"],
  },
];
