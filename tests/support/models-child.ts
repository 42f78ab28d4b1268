import { createInterface } from "node:readline";
import type { Prompt } from "../../src/core/model.ts";
import { createDispatch, type Timeouts } from "../../src/models/dispatch.ts";
import { createRegistry, type ModelsConfig } from "../../src/models/registry.ts";
import { createTransport } from "../../src/models/transport.ts";

// A process that dispatches turns, run by models-dispatch.ts on Node or on Bun: a command a line comes in, an event a
// line goes out, until its input ends.

export type Setup = { models: Omit<ModelsConfig, "aliases">; timeouts: Timeouts };
export type Command = { turn: number; send: { targets: string[]; content: string } } | { turn: number; cancel: true };

/** What the prompt is said to have cost, by estimate. */
const ESTIMATED_TOKENS = 9;

const { models, timeouts }: Setup = JSON.parse(process.argv[2] ?? "");
const transport = createTransport();
const registry = createRegistry({ ...models, aliases: new Map() }, transport);
const dispatch = createDispatch(registry, timeouts, { random: () => 0 }); // backoff without a pause
const running = new Map<number, AbortController>();

async function run(turn: number, targets: string[], content: string): Promise<void> {
  const controller = new AbortController();
  running.set(turn, controller);
  const prompt = (): Prompt => ({
    messages: [{ role: "user", content }],
    report: { messages: 1, omitted: 0, estimated_tokens: ESTIMATED_TOKENS },
  });
  const plan = { model: "test", targets, window: 8192 };
  for await (const event of dispatch(plan, prompt, controller.signal)) {
    process.stdout.write(`${JSON.stringify({ turn, event })}\n`);
  }
  running.delete(turn);
}

for await (const line of createInterface({ input: process.stdin })) {
  const command: Command = JSON.parse(line);
  if ("cancel" in command) running.get(command.turn)?.abort();
  else void run(command.turn, command.send.targets, command.send.content);
}
await transport.close();
