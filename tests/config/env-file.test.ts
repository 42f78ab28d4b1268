import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { runtimes } from "../support/models-dispatch.ts";
import { freshFolder, launchIn } from "../support/models-launch.ts";
import { type Asked, type Provider, startProvider } from "../support/provider.ts";
import { type Runtime, runCommand, runToEnd } from "../support/service.ts";

let provider: Provider;
beforeAll(async () => {
  provider = await startProvider();
});
afterAll(() => provider.close());

/** What the provider is asked by a service that was started beside this `.env`, with these variables. */
async function askedBeside(file: string, runtime: Runtime, env: Record<string, string> = {}) {
  const folder = freshFolder();
  writeFileSync(join(folder, ".env"), file);
  const service = await launchIn(folder, runtime, { HOME: "/not-to-be-seen", ...env });
  const sent = await service.call("/api/chat/send", { message: "Hi", model: "fast" });
  expect(sent.status, await sent.text()).toBe(200);
  service.signal("SIGTERM");
  await expect.poll(service.exitCode).toBe(0);
  const asked = provider.asked.at(-1);
  if (!asked) throw new Error("nobody was asked");
  return { asked, folder };
}

const promptOf = ({ body }: Asked) => body.messages.find(({ role }) => role === "system")?.content;

describe.each(runtimes)("a .env file in the working directory, on %s", (runtime) => {
  const file = () => `# Parley, for the test
export OPENAI_BASE_URL=${provider.openaiUrl}   # the fake one
OPENAI_API_KEY='sk-#1-$HOME'

SYSTEM_PROMPT="Costs: $HOME \${HOME} # 5"
  MODELS = fast=openai/from-the-file
DATABASE_URL=sqlite:///./from-the-file.db # kept
LOG_LEVEL=
`;

  it("is read: quotes, export, comments, # inside quotes, and no variable in it is put in", async () => {
    const { asked, folder } = await askedBeside(file(), runtime);
    expect(asked.authorization).toBe("Bearer sk-#1-$HOME");
    expect(asked.body.model).toBe("from-the-file");
    expect(promptOf(asked)).toBe(`Costs: $HOME \${HOME} # 5`);
    expect(existsSync(join(folder, "from-the-file.db"))).toBe(true);
  });

  it("gives way to the real environment", async () => {
    const env = { MODELS: "fast=openai/from-outside", SYSTEM_PROMPT: "From outside." };
    const { asked } = await askedBeside(file(), runtime, env);
    expect(asked.body.model).toBe("from-outside");
    expect(promptOf(asked)).toBe("From outside.");
    expect(asked.authorization).toBe("Bearer sk-#1-$HOME");
  });

  it("may have the line ends of Windows, and values of several lines in quotes", async () => {
    const text = file().replace(/SYSTEM_PROMPT=.*/, 'SYSTEM_PROMPT="Be brief.\nBe kind."');
    const { asked } = await askedBeside(text.replaceAll("\n", "\r\n"), runtime);
    expect(asked.body.model).toBe("from-the-file");
    expect(promptOf(asked)?.replaceAll("\r", "")).toBe("Be brief.\nBe kind.");
  });

  it("is held to the same rules as the environment", async () => {
    const folder = freshFolder();
    writeFileSync(join(folder, ".env"), "PORT=hunter2\nexport LOG_LEVEL='hunter3' # no level\n");
    const { code, output } = await runToEnd(runtime, {}, folder);
    expect([code, output.trim().split("\n").sort()]).toEqual([
      1,
      ["LOG_LEVEL: must be debug, info, warn, error or silent", "PORT: must be a whole number"],
    ]);
  });

  it("is named where it cannot be read: a service without it might be open", async () => {
    const folder = freshFolder();
    mkdirSync(join(folder, ".env"));
    const why = ".env: EISDIR: illegal operation on a directory, read\n";
    expect(await runCommand(runtime, ["serve"], { env: {}, cwd: folder })).toEqual({ code: 1, out: "", error: why });
    const found = await runCommand(runtime, ["doctor"], { env: {}, cwd: folder });
    expect(found).toEqual({ code: 1, out: `trouble configuration: ${why}`, error: "" });
  });

  it.each([
    { what: "a byte order mark", before: "\uFEFF" },
    { what: "a line that is no assignment", before: "My settings for the chat\n" },
    { what: "a line of blanks and a tab before it", before: "  \n\t" },
  ])("hides no variable behind $what", async ({ before }) => {
    const folder = freshFolder();
    writeFileSync(join(folder, ".env"), `${before}JWT_SECRET=short\n`);
    // Passed over, it would leave a service open that was meant to be closed. PORT is wrong so that it ends in any case.
    const { output } = await runToEnd(runtime, { PORT: "abc" }, folder);
    expect(output).toContain("JWT_SECRET: must have at least 32 bytes");
  });
});

it("gives an escaped quote the same meaning on both runtimes", async () => {
  const file = `OPENAI_BASE_URL=${provider.openaiUrl}\nMODELS=fast=openai/a\nSYSTEM_PROMPT="Say \\"Hi\\" first."\n`;
  const prompts = [];
  for (const runtime of runtimes) prompts.push(promptOf((await askedBeside(file, runtime)).asked));
  expect(prompts[1]).toBe(prompts[0]);
});
