import { faults } from "./fault-cases.ts";

import type { Ran } from "./fault-run.ts";
import type { Run } from "./fault-world.ts";
import type { Runtime } from "./service.ts";

const COLUMNS = ["node streamed", "node plain", "bun streamed", "bun plain"] as const;
const NAMES = { openai: "first", groq: "second", runpod: "RunPod" } as const;

type Cell = { ms: number; held: boolean };

/** What became of every case, as a table in Markdown. */
export function createTable() {
  const cells = new Map<string, Cell>();
  const keyOf = (runtime: string, mode: string, what: string) => `${runtime} ${mode} ${what}`;
  const cellAt = (column: string, what: string) => {
    const cell = cells.get(`${column} ${what}`);
    return cell ? `${cell.held ? "held" : "BROKEN"}, ${(cell.ms / 1000).toFixed(2)} s` : "not run";
  };
  return {
    begin(runtime: Runtime, { fault, mode }: Run, { ms }: Ran): void {
      cells.set(keyOf(runtime, mode, fault.what), { ms, held: false });
    },
    held(runtime: Runtime, { fault, mode }: Run): void {
      const cell = cells.get(keyOf(runtime, mode, fault.what));
      if (cell) cell.held = true;
    },
    print(): string {
      const rows = faults.map((fault) => [
        fault.what,
        ...COLUMNS.map((column) => cellAt(column, fault.what)),
        typeof fault.ends === "string" ? `whole answer of ${NAMES[fault.ends]}` : outcomeOf(fault.ends),
        triesOf(fault.attempts),
      ]);
      const head = ["case", "Node streamed", "Node plain", "Bun streamed", "Bun plain", "outcome", "attempts"];
      return [head, head.map(() => "---"), ...rows].map((row) => `| ${row.join(" | ")} |`).join("\n");
    },
  };
}

const outcomeOf = ({ code, kept }: { code: string; kept?: RegExp }) =>
  `\`${code}\`${kept ? ", the text so far is kept" : ""}`;

/** "first: overloaded ×3, second: completed" */
function triesOf(attempts: readonly string[]): string {
  const counted = new Map<string, number>();
  for (const attempt of attempts) counted.set(attempt, (counted.get(attempt) ?? 0) + 1);
  return [...counted].map(([attempt, count]) => tryOf(attempt) + (count > 1 ? ` ×${count}` : "")).join(", ");
}

function tryOf(attempt: string): string {
  const [part = "", outcome = ""] = attempt.split(" ");
  return `${Object.entries(NAMES).find(([name]) => name === part)?.[1] ?? part}: ${outcome}`;
}
