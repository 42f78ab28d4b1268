import { readdirSync, readFileSync } from "node:fs";

// What a process takes of the machine, where there is a /proc.

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

/** Processor time of one process, in seconds. */
export const cpuOf = (pid: number) => statOf(pid)?.seconds ?? Number.NaN;

/** The same of Redis, and of every Postgres that this process has started. */
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

/** What a process holds of the machine's memory, in kibibytes. */
export const memoryOf = (pid: number) => kibibytes("VmRSS", pid);
/** The most that it ever held. */
export const mostMemoryOf = (pid: number) => kibibytes("VmHWM", pid);

function kibibytes(field: string, pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "latin1");
  return Number(new RegExp(`^${field}:\\s+(\\d+) kB$`, "m").exec(status)?.[1]);
}

/** How many files and sockets a process of ours may have open. */
export const fileLimit = () => /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "latin1"))?.[1] ?? "";
