import { type Config, parseConfig, readEnvironment } from "./config.ts";
import { hiding, secretsIn } from "./secrets.ts";

export type Configured = {
  config: Config;
  secrets: readonly string[];
  /** Prints a line each, without what is secret, and lets the process end with 1. */
  fail(problems: readonly string[]): undefined;
};

/** What a command starts with; undefined where the configuration is wrong, which has been said then. */
export function configure(): Configured | undefined {
  const env = readEnvironment();
  const secrets = secretsIn(env);
  const hide = hiding(secrets);
  const fail = (problems: readonly string[]): undefined => {
    for (const line of problems) process.stderr.write(`${hide(line)}\n`);
    process.exitCode = 1;
  };
  const parsed = parseConfig(env);
  return "problems" in parsed ? fail(parsed.problems) : { config: parsed.config, secrets, fail };
}
