import { parseArgs } from "node:util";
import { readEnvironment } from "./config.ts";
import { mintToken } from "./http/auth.ts";

const usage = "npm run token -- --sub alice [--role user|agent|admin] [--expires 1h], with JWT_SECRET set";

/** Prints a token for JWT_SECRET. */
async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      sub: { type: "string" },
      role: { type: "string", default: "user" },
      expires: { type: "string", default: "1h" },
    },
  });
  const { sub, role, expires } = values;
  const secret = readEnvironment()["JWT_SECRET"];
  if (!secret || Buffer.byteLength(secret) < 32) throw new Error("JWT_SECRET: must have at least 32 bytes");
  if (!sub) throw new Error("--sub: names the user the token is for");
  if (role !== "user" && role !== "agent" && role !== "admin") throw new Error("--role: must be user, agent or admin");
  process.stdout.write(`${await mintToken(secret, { sub, role, expires })}\n`);
}

await main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message.split("\n", 1)[0] : "failed"}\n${usage}\n`);
  process.exitCode = 1;
});
