import { configure } from "./configure.ts";
import { migrateDatabase } from "./db/index.ts";
import { reasonOf } from "./secrets.ts";

/** Applies what is pending, as a start does, and says what that was, and where a SQLite file is kept as it was before. */
export async function run(): Promise<void> {
  const configured = configure();
  if (!configured) return;
  try {
    const say = (line: string) => process.stdout.write(`${line}\n`);
    const applied = await migrateDatabase(configured.config.DATABASE_URL, (file) => say(`kept ${file}`));
    for (const tag of applied) say(`applied ${tag}`);
    if (applied.length === 0) say("up to date");
  } catch (error) {
    configured.fail([`DATABASE_URL: ${reasonOf(error)}`]);
  }
}
