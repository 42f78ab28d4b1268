import { copyFileSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { PATIENT } from "../support/http-expect.ts";
import { providerForTest } from "../support/http-worlds.ts";
import { freshFolder, launchIn } from "../support/models-launch.ts";
import { runCommand } from "../support/service.ts";

/** More than Bun's fetch does at once where nobody has told it to. */
const MANY = 300;

it("runs alone: an empty folder in, its database and nothing else out", async () => {
  const folder = freshFolder();
  const service = await launchIn(folder, "binary", {});
  expect((await service.call("/api/chat/send", { message: "Hi" })).status).toBe(200);
  const [page, script] = await Promise.all([service.call("/docs"), service.call("/docs/swagger-ui.js")]);
  expect([page.status, script.status]).toEqual([200, 200]);
  expect((await script.text()).length).toBeGreaterThan(1_000_000);
  service.signal("SIGTERM");
  await expect.poll(service.exitCode, PATIENT).toBe(0);
  expect(readdirSync(folder)).toEqual(["parley.db", "parley.db.lock"]); // the latter empty
});

it("takes from the folder that it runs in no code and no setting but what `.env` says", async () => {
  const folder = freshFolder();
  writeFileSync(join(folder, "evil.ts"), "console.log('evil'); process.exit(66);");
  writeFileSync(join(folder, "bunfig.toml"), 'preload = ["./evil.ts"]\n[serve]\npreload = ["./evil.ts"]\n');
  writeFileSync(join(folder, "tsconfig.json"), '{ "compilerOptions": { "paths": { "*": ["./evil.ts"] } } }');
  writeFileSync(join(folder, "package.json"), '{ "imports": { "#a": "./evil.ts" }, "main": "evil.ts" }');
  const secret = `s3cret-$HOME-${"x".repeat(32)}`;
  writeFileSync(
    join(folder, ".env"),
    `JWT_SECRET='${secret}'\nJWT_ISSUER="$HOME"\nBUN_OPTIONS="--preload ./evil.ts"\n`,
  );
  copyFileSync(join(folder, ".env"), join(folder, ".env.local")); // which Bun would read on its own
  writeFileSync(join(folder, ".env.production"), "JWT_AUDIENCE=nobody\n");
  const { code, out, error } = await runCommand("binary", ["token", "--sub", "ann"], {
    env: { HOME: "/x" },
    cwd: folder,
  });
  expect([code, error]).toEqual([0, ""]);
  const claims = JSON.parse(Buffer.from(out.split(".")[1] ?? "", "base64url").toString());
  expect(claims).toMatchObject({ sub: "ann", iss: "$HOME" });
  expect(claims.aud).toBeUndefined();
});

it("asks for more answers at once than Bun does by itself", async (test) => {
  const provider = await providerForTest(test);
  provider.behave(() => ({ headersAfter: Number.POSITIVE_INFINITY }));
  const service = await launchIn(freshFolder(), "binary", { OPENAI_BASE_URL: provider.openaiUrl });
  const left = new AbortController();
  const init = { method: "POST", body: '{"message":"Hi"}', headers: { "content-type": "application/json" } };
  const send = () => fetch(`${service.url}/api/chat/send`, { ...init, signal: left.signal });
  const sent = Promise.allSettled(Array.from({ length: MANY }, send));
  await expect.poll(provider.busy, PATIENT).toBe(MANY);
  left.abort();
  await sent;
});
