import { parseArgs } from "node:util";
import pkg from "../package.json" with { type: "json" };

type Command = { name: string; takes?: string; does: string; run(args: string[]): Promise<void> };

/** What can be asked for. Each is loaded only then; who takes arguments is given those behind its name. */
const commands: Command[] = [
  { name: "serve", does: "serves; so it does without a command", run: alone(() => import("./serve.ts")) },
  { name: "migrate", does: "applies the migrations that are pending", run: alone(() => import("./migrate.ts")) },
  {
    name: "token",
    takes: "--sub alice [--role user|agent|admin] [--expires 1h]",
    does: "prints a token for JWT_SECRET",
    run: async (args) => (await import("./token.ts")).run(args),
  },
  {
    name: "doctor",
    does: "looks at all that it depends on, a line each; 1 on trouble",
    run: alone(() => import("./doctor.ts")),
  },
  {
    name: "backup",
    takes: "FILE",
    does: "writes the SQLite database to a new file, while the service runs",
    run: async (args) => (await import("./backup.ts")).run(args),
  },
  {
    name: "vacuum",
    does: "writes the SQLite database anew, without what was deleted; the service is stopped",
    run: alone(() => import("./vacuum.ts")),
  },
  {
    name: "healthcheck",
    does: "asks the service at HOST and PORT whether it is ready; 1 if not",
    run: alone(() => import("./healthcheck.ts")),
  },
];

/** A command without arguments, which are refused. */
function alone(load: () => Promise<{ run(): Promise<void> }>): Command["run"] {
  return async (args) => {
    parseArgs({ args });
    await (await load()).run();
  };
}

async function main(given: string[]): Promise<void> {
  const [first, second] = given;
  if (first === "--version" || first === "-v" || first === "version") return say(`parley ${pkg.version}`);
  const [name = "", ...args] = first?.startsWith("-") === false ? given : ["serve", ...given];
  const asksHelp = name === "help" || given.includes("--help") || given.includes("-h");
  const asked = name === "help" && !second?.startsWith("-") ? second : name;
  const isOfAll = asked === undefined || asked === "help" || first?.startsWith("-") !== false;
  if (asksHelp && isOfAll) return say(help());
  const command = commands.find((one) => one.name === asked);
  if (!command) return misused(`There is no command '${asked}'`);
  if (asksHelp) return say(helpOn(command));
  await runOrSay(command, args);
}

/** Arguments that a command does not take are said in a line. */
async function runOrSay(command: Command, args: string[]): Promise<void> {
  try {
    await command.run(args);
  } catch (error) {
    const isMisuse = error instanceof Error && "code" in error && /^ERR_PARSE_ARGS/.test(String(error.code));
    if (!isMisuse) throw error;
    misused(error.message.split(/\.\s/, 1)[0] ?? "");
  }
}

function helpOn({ name, takes, does }: Command): string {
  return [`parley ${name}${takes ? ` ${takes}` : ""}`, "", `  ${does}`].join("\n");
}

function help(): string {
  const lines = commands.map(({ name, takes, does }) => `  ${name.padEnd(12)} ${does}${takes ? `: ${takes}` : ""}`);
  const more = ["  --version, -v", "  --help, -h, help [command]"];
  return ["parley [command]", "", ...lines, "", ...more].join("\n");
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

function misused(what: string): void {
  process.stderr.write(`${what}; see parley --help\n`);
  process.exitCode = 2;
}

await main(process.argv.slice(2));
