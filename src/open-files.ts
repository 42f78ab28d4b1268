import { readFileSync } from "node:fs";

/** How many files this process may have open, to which its runtime has raised it; null where the system does not tell. */
export function mostOpenFiles(): number | null {
  try {
    const [, most] = /^Max open files +(\d+)/m.exec(readFileSync("/proc/self/limits", "utf8")) ?? [];
    return most === undefined ? null : Number(most);
  } catch {
    return null; // no Linux
  }
}

/**
 * How many connections fit: each client may be waiting for a provider, which takes a second file. The other half is also
 * for the database and whatever else is opened, so that a full house costs nobody their turn.
 */
export function connectionsFor(wanted: number, openFiles: number | null): number {
  return openFiles === null ? wanted : Math.min(wanted, Math.max(1, Math.floor(openFiles / 2)));
}
