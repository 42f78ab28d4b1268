import { type Config, type Configured, parseConfig, readEnvironment } from "./config.ts";
import { settleProxies } from "./proxies.ts";
import { hiding, reasonOf, secretsIn } from "./secrets.ts";

type Start = {
  config: Config;
  /** Lines on what is taken for a slip, and stops nothing. */
  notices: readonly string[];
  secrets: readonly string[];
  /** Prints a line each, without what is secret, and lets the process end with 1. */
  fail(problems: readonly string[]): undefined;
};

/** The configuration of this process, and what of it nobody may read. A `.env` that cannot be read is a problem like others. */
export function readConfig(): Configured & { secrets: readonly string[] } {
  let env: ReturnType<typeof readEnvironment>;
  try {
    env = readEnvironment();
  } catch (error) {
    return { problems: [`.env: ${reasonOf(error)}`], secrets: [] };
  }
  const secrets = secretsIn(env);
  try {
    settleProxies();
  } catch (error) {
    return { problems: [reasonOf(error)], secrets };
  }
  return { ...parseConfig(env), secrets };
}

/** What a command starts with; undefined where the configuration is wrong, which has been said then. */
export function configure(): Start | undefined {
  const { secrets, ...read } = readConfig();
  const hide = hiding(secrets);
  const fail = (problems: readonly string[]): undefined => {
    for (const line of problems) process.stderr.write(`${hide(line)}\n`);
    process.exitCode = 1;
  };
  return "problems" in read ? fail(read.problems) : { ...read, secrets, fail };
}
