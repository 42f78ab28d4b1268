import { expect } from "vitest";
import { type Fault, NEVER, oneOnly, SHORT, says, TIMEOUT, thrice, UNAVAILABLE } from "./fault.ts";

export const silences: readonly Fault[] = [
  {
    what: "reset before headers",
    openai: { reset: true },
    ends: "groq",
    attempts: [...thrice("openai connect"), "groq completed"],
  },
  {
    what: "no response",
    openai: { headersAfter: NEVER },
    ends: "groq",
    attempts: ["openai timeout_headers", "groq completed"],
    timers: "first",
  },
  {
    what: "slow first token, another target is left",
    openai: { text: [], afterwards: "stall" },
    ends: "groq",
    attempts: ["openai timeout_first_token", "groq completed"],
    timers: "first",
  },
  {
    what: "slow first token, no other target",
    chain: oneOnly,
    openai: { headersAfter: 1.5 * SHORT.first.first },
    ends: "openai",
    attempts: ["openai completed"],
    timers: "first",
  },
  {
    what: "slow body",
    openai: { every: 0.4 * SHORT.idle.idle },
    ends: "openai",
    attempts: ["openai completed"],
    timers: "idle",
  },
  {
    what: "a body that never ends",
    chain: oneOnly,
    openai: { text: Array(60).fill("on "), every: 300 },
    ends: { ...TIMEOUT, kept: /^(on )+$/ },
    attempts: ["openai timeout_total"],
    timers: "turn",
  },
  {
    what: "both targets down",
    openai: says(503),
    groq: { reset: true },
    ends: UNAVAILABLE,
    attempts: [...thrice("openai overloaded"), ...thrice("groq connect")],
  },
  {
    what: "both targets silent",
    openai: { headersAfter: NEVER },
    groq: { text: [], afterwards: "stall" },
    ends: TIMEOUT,
    attempts: ["openai timeout_headers", "groq timeout_first_token"],
    timers: "both",
  },
  {
    what: "flapping primary",
    openai: says(503),
    recovers: "openai",
    ends: "openai",
    attempts: ["openai completed"],
    asked: { openai: expect.any(Number), groq: 2 },
  },
];
