import { vi } from "vitest";
import { invalid } from "../../src/core/errors.ts";
import type {
  Attempt,
  DispatchEvent,
  FailureKind,
  ModelMessage,
  Models,
  Plan,
  TurnError,
} from "../../src/core/model.ts";

export const TARGET = "tests/model";
export const WINDOW = 8_192;

/** One call that core made to the model, held open until the test says how it goes on. */
export type Call = {
  plan: Plan;
  /** What the model is shown. */
  messages: ModelMessage[];
  /** The last of it. */
  question: string;
  signal: AbortSignal;
  say(text: string): void;
  /** What was said is void: it begins anew. */
  restart(reason?: FailureKind): void;
  status(status: "queued" | "starting"): void;
  end(text?: string): void;
  fail(code: TurnError["code"]): void;
};

/** The two functions that core receives, under the test's control. */
export type TestModels = Models & {
  calls: Call[];
  /** Resolves once there have been so many calls, with the last of them. */
  call(nth: number): Promise<Call>;
};

export const attempt: Attempt = {
  target: TARGET,
  outcome: "completed",
  status: 200,
  ms: 1,
  first_token_ms: 1,
  usage: null,
};

/** Knows the models `balanced` (the default) and `other`. Calls wait for the test, unless `behave` tells them more. */
export function testModels(behave: (call: Call) => unknown = () => {}): TestModels {
  const calls: Call[] = [];
  return {
    calls,
    call: (nth) =>
      eventually(() => {
        const found = calls[nth - 1];
        if (!found) throw new Error(`${calls.length} calls so far, not ${nth}`);
        return found;
      }),
    plan(model = "balanced") {
      if (model !== "balanced" && model !== "other") throw invalid("model", "must be one of balanced, other");
      return { model, targets: [TARGET], window: WINDOW };
    },
    async *dispatch(plan, prompt, signal) {
      const { messages, report } = prompt(plan.window);
      const told: DispatchEvent[] = [];
      let wake = () => {};
      const tell = (event: DispatchEvent) => {
        told.push(event);
        wake();
      };
      const usage = { input_tokens: 3, output_tokens: 2, estimated: false };
      const ran = { target: TARGET, usage, cost: null, attempts: [attempt], context: report, waitedMs: 0 };
      const call: Call = {
        plan,
        messages,
        question: messages.at(-1)?.content ?? "",
        signal,
        say: (text) => tell({ type: "delta", text }),
        restart: (reason = "stream_cut") => tell({ type: "restart", reason }),
        status: (status) => tell({ type: "status", status }),
        end(text) {
          if (text !== undefined) call.say(text);
          tell({ type: "end", finishReason: "stop", ...ran });
        },
        fail: (code) => tell({ type: "failed", error: { code, detail: `${code}.` }, ...ran }),
      };
      const cancel = () => call.fail("turn_cancelled");
      if (signal.aborted) cancel();
      signal.addEventListener("abort", cancel, { once: true });
      calls.push(call);
      await behave(call);
      for (;;) {
        const event = told.shift();
        if (event) yield event;
        else await new Promise<void>((resolve) => (wake = resolve));
        if (event?.type === "end" || event?.type === "failed") return;
      }
    },
  };
}

/** Answers every question at once. */
export const answering = (): TestModels => testModels((call) => call.end(answerTo(call.question)));

export const answerTo = (question: string): string => `Answer to ${question}`;

/** Looks until it does not throw any more. */
export const eventually = <T>(look: () => T | Promise<T>): Promise<T> =>
  vi.waitFor(look, { timeout: 60_000, interval: 5 });
