import { execFile } from "node:child_process";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { jwtVerify } from "jose";
import { describe, expect, it } from "vitest";
import { startApp } from "../support/app.ts";
import { bundle } from "../support/builds.ts";
import { databases } from "../support/databases.ts";
import { freshFolder } from "../support/models-launch.ts";

const SECRET = "a secret for tokens of 32 bytes and more";

type Printed = { code: number; out: string; error: string };

/** Runs it in a folder of its own. */
async function run(
  args: string[],
  env: Record<string, string> = { JWT_SECRET: SECRET },
  cwd = freshFolder(),
): Promise<Printed> {
  const options = { cwd, env: { PATH: process.env["PATH"], ...env } };
  const program = await bundle();
  return new Promise((resolve) => {
    const child = execFile(process.execPath, [program, "token", ...args], options, (_, out, error) =>
      resolve({ code: child.exitCode ?? -1, out, error }),
    );
  });
}

const claimsOf = async (token: string, secret = SECRET) =>
  (await jwtVerify(token.trim(), new TextEncoder().encode(secret), { algorithms: ["HS256"] })).payload;

describe("npm run token", () => {
  it("prints a token for that user and role, which runs out when it was told to", async () => {
    const { code, out, error } = await run(["--sub", "alice", "--role", "agent", "--expires", "1h"]);
    expect([code, error]).toEqual([0, ""]);
    const { sub, role, iat = 0, exp = 0 } = await claimsOf(out);
    expect({ sub, role, lasts: exp - iat }).toEqual({ sub: "alice", role: "agent", lasts: 3600 });
    expect(Math.abs(iat - Date.now() / 1000)).toBeLessThan(60);
  });

  it("prints one of a user, for an hour, where nothing more is said", async () => {
    const { sub, role, iat = 0, exp = 0 } = await claimsOf((await run(["--sub", "bob"])).out);
    expect({ sub, role, lasts: exp - iat }).toEqual({ sub: "bob", role: "user", lasts: 3600 });
  });

  it("prints one that the service with that secret takes for that user, and another service does not", async () => {
    const { out } = await run(["--sub", "alice", "--role", "user", "--expires", "30d"]);
    const headers = { authorization: `Bearer ${out.trim()}` };
    const statuses = [];
    for (const JWT_SECRET of [SECRET, `not ${SECRET}`]) {
      const app = await startApp({ DATABASE_URL: await databases[0].fresh(), JWT_SECRET });
      const made = await app.call("POST", "/chats", {}, headers);
      statuses.push([made.status, made.json.user_id]);
      await app.stop();
    }
    expect(statuses).toEqual([
      [201, "alice"],
      [401, undefined],
    ]);
  });

  it("takes the secret from .env in the working directory as the service does", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, ".env"), `JWT_SECRET="${SECRET}" # of the test\n`);
    expect(await claimsOf((await run(["--sub", "alice"], {}, folder)).out)).toMatchObject({ sub: "alice" });
  });

  it("prints one with the issuer and the audience that the service looks for", async () => {
    const env = { JWT_SECRET: SECRET, JWT_ISSUER: "https://issuer.example.com/", JWT_AUDIENCE: "parley" };
    const headersOf = async (of: Record<string, string>) => ({
      authorization: `Bearer ${(await run(["--sub", "alice"], of)).out.trim()}`,
    });
    const app = await startApp({ DATABASE_URL: await databases[0].fresh(), ...env });
    const made = await app.call("POST", "/chats", {}, await headersOf(env));
    const refused = await app.call("POST", "/chats", {}, await headersOf({ JWT_SECRET: SECRET, JWT_ISSUER: "" }));
    await app.stop();
    expect([made.status, made.json.user_id, refused.status]).toEqual([201, "alice", 401]);
  });

  it.each<{ what: string; args: string[]; env?: Record<string, string>; says: RegExp }>([
    { what: "no secret", args: ["--sub", "alice"], env: {}, says: /^JWT_SECRET is not set/ },
    { what: "a blank secret", args: ["--sub", "alice"], env: { JWT_SECRET: " " }, says: /^JWT_SECRET is not set/ },
    { what: "a quoted secret", args: [], env: { JWT_SECRET: `"${SECRET}"` }, says: /^JWT_SECRET: stands in quotes/ },
    { what: "a short secret", args: ["--sub", "alice"], env: { JWT_SECRET: "hunter2" }, says: /^JWT_SECRET: / },
    { what: "no user", args: [], says: /--sub/ },
    { what: "an empty user", args: ["--sub", ""], says: /--sub/ },
    { what: "a role that there is not", args: ["--sub", "alice", "--role", "boss"], says: /--role/ },
    { what: "a time that is none", args: ["--sub", "alice", "--expires", "soon"], says: /^--expires: .*1h/ },
    { what: "no length of time", args: ["--sub", "alice", "--expires", "0h"], says: /^--expires: / },
    { what: "a time that is over", args: ["--sub", "alice", "--expires=-1h"], says: /^--expires: / },
    { what: "a user of 256 characters", args: ["--sub", "x".repeat(256)], says: /^--sub: / },
  ])("with $what prints one line and how it is used, and ends with 1", async ({ args, env, says }) => {
    const { code, out, error } = await run(args, env);
    expect([code, out]).toEqual([1, ""]);
    expect(error.trimEnd().split("\n")).toEqual([
      expect.stringMatching(says),
      expect.stringMatching(/^parley token --sub /),
    ]);
    expect(error).not.toContain("hunter2");
  });

  it.each<{ what: string; args: string[]; says: RegExp }>([
    { what: "--sub without a value", args: ["--sub"], says: /--sub/ },
    { what: "--sub followed by another option", args: ["--sub", "--role", "agent"], says: /--sub/ },
    { what: "a time before now", args: ["--sub", "alice", "--expires", "-1h"], says: /--expires/ },
    { what: "an option that there is not", args: ["--sub", "alice", "--admin"], says: /--admin/ },
    { what: "a word too many", args: ["alice"], says: /alice/ },
  ])("with $what prints one line, and ends with 2", async ({ args, says }) => {
    const { code, out, error } = await run(args);
    expect([code, out]).toEqual([2, ""]);
    expect(error.trimEnd().split("\n")).toEqual([expect.stringMatching(says)]);
  });
});
