import { parseArgs } from "node:util";
import { databaseFrom, readEnvironment } from "./config.ts";
import { backupDatabase } from "./db/backup.ts";
import { reasonOf } from "./secrets.ts";

const usage = "parley backup FILE, with DATABASE_URL as the service has it";

/** Writes the database to a file, whether the service runs or not. */
export async function run(args: string[]): Promise<void> {
  const { positionals } = parseArgs({ args, allowPositionals: true });
  const [file] = positionals;
  try {
    if (!file || positionals.length > 1) throw new Error("FILE: names the one file to write");
    backupDatabase(databaseFrom(readEnvironment()), file);
    process.stdout.write(`${file}\n`);
  } catch (error) {
    process.stderr.write(`${reasonOf(error)}\n${usage}\n`);
    process.exitCode = 1;
  }
}
