import { configure } from "./configure.ts";
import { migrateDatabase } from "./db/index.ts";
import { reasonOf } from "./secrets.ts";

/** Applies what is pending, as a start does, and says what that was. */
export async function run(): Promise<void> {
  const configured = configure();
  if (!configured) return;
  try {
    const applied = await migrateDatabase(configured.config.DATABASE_URL);
    const lines = applied.length > 0 ? applied.map((tag) => `applied ${tag}`) : ["up to date"];
    process.stdout.write(`${lines.join("\n")}\n`);
  } catch (error) {
    configured.fail([`DATABASE_URL: ${reasonOf(error)}`]);
  }
}
