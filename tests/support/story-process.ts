import { readdirSync, readFileSync } from "node:fs";

/** Whether a process can be looked at from outside, as the functions below do. */
export const hasProc = process.platform === "linux";

/** A variable for a service's environment by which its process is found again. */
export const markedEnv = (): { STORY: string } => ({ STORY: crypto.randomUUID() });

/** The process that was started with this mark. */
export function pidOf({ STORY }: { STORY: string }): number {
  for (const name of readdirSync("/proc")) {
    if (/^\d+$/.test(name) && environmentOf(name).split("\0").includes(`STORY=${STORY}`)) return Number(name);
  }
  throw new Error("no such process");
}

function environmentOf(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/environ`, "latin1");
  } catch {
    return ""; // it has ended, or is somebody else's
  }
}

/** What a process occupies of the machine's memory, in bytes. */
export function memoryOf(pid: number): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "latin1")) ?? [];
  return Number(kilobytes) * 1024;
}
