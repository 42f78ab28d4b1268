import { parseArgs } from "node:util";
import { readEnvironment } from "./config.ts";
import { misread } from "./config-text.ts";
import { callerId } from "./http/schemas.ts";
import { mintToken } from "./http/tokens.ts";

const usage = "parley token --sub alice [--role user|agent|admin] [--expires 1h], with JWT_SECRET set";

/** Prints a token for JWT_SECRET, with the issuer and the audience that the service would look for. */
export async function run(args: string[]): Promise<void> {
  const { values } = parseArgs({
    args,
    options: {
      sub: { type: "string" },
      role: { type: "string", default: "user" },
      expires: { type: "string", default: "1h" },
    },
  });
  try {
    process.stdout.write(`${await tokenFor(values)}\n`);
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message.split("\n", 1)[0] : "failed"}\n${usage}\n`);
    process.exitCode = 1;
  }
}

type Wanted = { sub?: string; role: string; expires: string };

async function tokenFor({ sub, role, expires }: Wanted): Promise<string> {
  const { JWT_SECRET: secret, JWT_ISSUER: issuer, JWT_AUDIENCE: audience } = readEnvironment();
  if (secret === undefined) throw new Error("JWT_SECRET is not set: take the one that the service has");
  const slip = misread(secret) ?? (Buffer.byteLength(secret) < 32 ? "must have at least 32 bytes" : undefined);
  if (slip) throw new Error(`JWT_SECRET: ${slip}`);
  if (!sub) throw new Error("--sub: names the user the token is for");
  if (!callerId.safeParse(sub).success) throw new Error("--sub: must have 1 to 255 characters");
  if (role !== "user" && role !== "agent" && role !== "admin") throw new Error("--role: must be user, agent or admin");
  if (!/^[1-9]\d{0,5}[smhdwy]$/.test(expires)) throw new Error("--expires: must be a time like 30m, 1h or 90d");
  const narrowed = { ...(issuer && { issuer }), ...(audience && { audience }) };
  return mintToken(secret, { sub, role, expires, ...narrowed });
}
