import { databaseFrom, readEnvironment } from "./config.ts";
import { vacuumDatabase } from "./db/vacuum.ts";
import { reasonOf } from "./secrets.ts";

/** Writes the database anew, and says in which file. */
export async function run(): Promise<void> {
  try {
    process.stdout.write(`${vacuumDatabase(databaseFrom(readEnvironment()))}\n`);
  } catch (error) {
    process.stderr.write(`${reasonOf(error)}\n`);
    process.exitCode = 1;
  }
}
