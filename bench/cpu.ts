import { readdirSync, readFileSync } from "node:fs";

// Processor time, where there is a /proc.

type Stat = { name: string; parent: number; seconds: number };

function statOf(pid: number | string): Stat | undefined {
  try {
    const [, , name = "", rest = ""] = /^(\d+) \((.*)\) (.*)$/s.exec(readFileSync(`/proc/${pid}/stat`, "utf8")) ?? [];
    const fields = rest.split(" ");
    // With those of its children that have ended: utime, stime, cutime, cstime, in hundredths everywhere on Linux.
    const seconds = fields.slice(11, 15).reduce((sum, field) => sum + Number(field), 0) / 100;
    return { name, parent: Number(fields[1]), seconds };
  } catch {
    return undefined; // it has just ended
  }
}

/** Of one process, in seconds. */
export const cpuOf = (pid: number) => statOf(pid)?.seconds ?? Number.NaN;

/** Of Redis, and of every Postgres that this process has started. */
export function storesCpu(redis: { pid: number }): number {
  const all = new Map<number, Stat>();
  for (const name of readdirSync("/proc")) {
    const stat = /^\d+$/.test(name) ? statOf(name) : undefined;
    if (stat) all.set(Number(name), stat);
  }
  const isOurs = (pid: number): boolean => pid === process.pid || (all.has(pid) && isOurs(all.get(pid)?.parent ?? 0));
  let seconds = cpuOf(redis.pid);
  for (const [pid, stat] of all) if (stat.name.startsWith("postgres") && isOurs(pid)) seconds += stat.seconds;
  return seconds;
}
