import { CANCELLED, error, FAILED, type Fault, half, limited, NEVER, oneOnly, says, WORDS } from "./fault.ts";
import { event, type Script } from "./provider.ts";

// Bun's fetch may lose text that arrives in the same instant as a cut, so there is some time between them.
const CUT = { every: 500, afterwards: "cut" } as const;
/** What is kept is a beginning, though on a busy machine the last piece and the cut may be one instant after all. */
const BEGUN = /^Half (an )?$/;

const broken = (what: string, outcome: string, script: Script): Fault => ({
  what,
  openai: half(script),
  ends: "groq",
  attempts: [`openai ${outcome}`, "groq completed"],
  restarts: 1,
});

export const halves: readonly Fault[] = [
  broken("cut in mid-answer", "stream_cut", CUT),
  { ...broken("stall in mid-answer", "timeout_idle", { afterwards: "stall" }), timers: "idle" },
  broken("garbage in mid-answer", "stream_incomplete", { raw: `data: {"${WORDS}\n\n` }),
  broken("no finish reason, no [DONE]", "stream_incomplete", { finish: null, done: false }),
  broken("finish reason abort", "stream_incomplete", { finish: "abort" }),
  broken("in-band error", "stream_incomplete", { raw: event(error("server_error")) }),
  {
    what: "no finish reason, but [DONE]",
    openai: { finish: null },
    ends: "openai",
    attempts: ["openai completed"],
  },
  {
    what: "no [DONE], but a finish reason",
    openai: { done: false },
    ends: "openai",
    attempts: ["openai completed"],
  },
  {
    what: "cut in mid-answer, no other target",
    chain: oneOnly,
    openai: half(CUT),
    ends: { ...FAILED, kept: BEGUN },
    attempts: ["openai stream_cut"],
  },
  {
    what: "cut in mid-answer, the other target down",
    openai: half(CUT),
    groq: says(401, "invalid_api_key"),
    ends: { ...FAILED, kept: BEGUN },
    attempts: ["openai stream_cut", "groq auth"],
  },
];

export const cancels: readonly Fault[] = [
  {
    what: "cancel while connecting",
    openai: { headersAfter: NEVER },
    cancel: "connecting",
    ends: CANCELLED,
    attempts: ["openai cancelled"],
  },
  {
    what: "cancel while waiting",
    chain: oneOnly,
    openai: { text: [], afterwards: "stall" },
    cancel: "waiting",
    ends: CANCELLED,
    attempts: ["openai cancelled"],
  },
  {
    what: "cancel while streaming",
    openai: { text: ["on ", "on "], afterwards: "stall" },
    cancel: "streaming",
    ends: { ...CANCELLED, kept: /^(on )+$/ },
    attempts: ["openai cancelled"],
  },
  {
    what: "cancel while sleeping before a retry",
    chain: oneOnly,
    openai: limited("20"),
    cancel: "sleeping",
    ends: CANCELLED,
    attempts: ["openai rate_limited"],
  },
];
