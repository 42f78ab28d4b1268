import { existsSync } from "node:fs";
import type { DatabaseAddress } from "./address.ts";
import { refuseUnfit } from "./inspect.ts";
import { openClient } from "./sqlite.ts";
import { holdFile, refuseShared } from "./sqlite-hold.ts";

/**
 * Writes a SQLite database anew, so that nothing is left of what was deleted; gives its path. Throws, and changes nothing,
 * where a process serves it, or there is nothing to be written anew in this way.
 */
export function vacuumDatabase(address: DatabaseAddress): string {
  if (address.dialect === "postgres") throw new Error("Postgres has a command of its own: VACUUM (FULL)");
  const { path } = address;
  if (path === ":memory:") throw new Error("a database in memory ends with its process: nothing to write anew");
  if (!existsSync(path)) throw new Error(`there is no database at ${path}`);
  refuseUnfit(path);
  refuseShared(path);
  const hold = holdFile(path);
  const client = openClient(path, "full");
  try {
    client.pragma("temp_store = FILE"); // the copy that it makes on the way may not fit into memory
    client.exec("vacuum");
    const [log] = client.pragma("wal_checkpoint(TRUNCATE)") as { busy: number }[];
    if (log?.busy !== 0) throw new Error(`somebody else reads ${path}: end that, and do it again`);
    return path;
  } finally {
    client.close();
    hold.letGo();
  }
}
