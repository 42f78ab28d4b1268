import { spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Attempt, DispatchEvent } from "../../src/core/model.ts";
import type { Timeouts } from "../../src/models/dispatch.ts";
import type { Command, Setup } from "./models-child.ts";
import type { Runtime } from "./service.ts";

export const runtimes = ["node", "bun"] as const satisfies readonly Runtime[];

/** The key of every target here: no event may ever show it. */
export const KEY = "sk-marker-of-the-key";

export type Last = Extract<DispatchEvent, { type: "end" | "failed" }>;

export type Turn = {
  /** Every event so far. */
  heard: DispatchEvent[];
  /** The text of the deltas so far. */
  text(): string;
  cancel(): void;
  /** The last event, once it has come. */
  last: Promise<Last>;
};

export type Dispatcher = {
  /** The targets are `provider/model`, in order of trial. What fails is called again without a pause. */
  send(targets: string | string[], content?: string): Turn;
  /** Lets it end by itself, which it does soon if nothing is left in it; gives the exit code. */
  stop(): Promise<number | string | null>;
};

const root = fileURLToPath(new URL("../..", import.meta.url));
const bun = join(root, "node_modules/bun/bin/bun.exe");
const child = join(root, "tests/support/models-child.ts");
const PATIENT: Timeouts = { firstToken: 60_000, lastFirstToken: 60_000, idle: 60_000, total: 60_000 };
const END_MS = 60_000;

/** The real dispatch over the real transport of a runtime, in a process of its own, with targets at one fake provider. */
export function startDispatcher(
  runtime: Runtime,
  provider: { openaiUrl: string; groqUrl: string },
  timeouts: Partial<Timeouts> = {},
): Dispatcher {
  const setup: Setup = {
    models: {
      openai: { apiKey: KEY, baseURL: provider.openaiUrl },
      groq: { apiKey: KEY, baseURL: provider.groqUrl },
    },
    timeouts: { ...PATIENT, ...timeouts },
  };
  const [command, flags] = runtime === "node" ? [process.execPath, []] : [bun, ["--no-env-file"]];
  const program = spawn(command, [...flags, child, JSON.stringify(setup)], { stdio: ["pipe", "pipe", "inherit"] });
  const turns = new Map<number, { hear(event: DispatchEvent): void; lose(error: Error): void }>();
  createInterface({ input: program.stdout }).on("line", (line) => {
    const { turn, event } = JSON.parse(line);
    turns.get(turn)?.hear(event);
  });
  program.on("exit", (code) => {
    for (const turn of turns.values()) turn.lose(new Error(`the dispatcher ended with ${code}`));
  });
  const say = (line: Command) => program.stdin.write(`${JSON.stringify(line)}\n`);

  return {
    send(targets, content = "How are you?") {
      const turn = turns.size;
      const { promise: last, resolve, reject: lose } = Promise.withResolvers<Last>();
      const heard: DispatchEvent[] = [];
      turns.set(turn, {
        lose,
        hear(event) {
          heard.push(event);
          if (event.type === "end" || event.type === "failed") resolve(event);
        },
      });
      say({ turn, send: { targets: [targets].flat(), content } });
      return { heard, last, text: () => textOf(heard), cancel: () => say({ turn, cancel: true }) };
    },
    async stop() {
      program.stdin.end();
      const tooLong = setTimeout(() => program.kill("SIGKILL"), END_MS);
      if (program.exitCode === null) await once(program, "exit");
      clearTimeout(tooLong);
      return program.exitCode ?? program.signalCode;
    },
  };
}

const textOf = (heard: readonly DispatchEvent[]) =>
  heard.map((event) => (event.type === "delta" ? event.text : "")).join("");

/** The one attempt of a turn that had one. */
export function onlyAttempt({ attempts }: Last): Attempt {
  const [attempt, ...more] = attempts;
  if (!attempt || more.length > 0) throw new Error(`there are ${attempts.length} attempts`);
  return attempt;
}

/** Targets nobody has called, so that no breaker remembers them. */
let fresh = 0;
export const freshTarget = (provider: "openai" | "groq" = "openai"): string => `${provider}/model-${++fresh}`;
