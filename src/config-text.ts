/** How the text of a variable comes to us, whatever it is for. */

export type Env = Record<string, string | undefined>;

const WRAPPED = /^(["'`])(?!.*\1.).*\1$/s;
const PLACEHOLDER = /^(\$\{.*\}|\$\(\w+\)|\$[A-Z_][A-Z0-9_]*|\{\{.*\}\}|%\w+%|<[^<>]*>)$/s;

/** Blanks and line ends around a value are those of a file or a form; what is blank is absent. */
export function tidied(env: Env): Record<string, string> {
  const values = Object.entries(env).map(([name, value = ""]) => [name, value.trim()] as const);
  return Object.fromEntries(values.filter(([, value]) => value !== ""));
}

/** What is wrong with a value before anybody reads it, in words; undefined for one that may be meant. */
export function misread(value: string): string | undefined {
  if (WRAPPED.test(value)) return "stands in quotes, which would be part of it: take them off";
  if (PLACEHOLDER.test(value)) return "is a placeholder, which nothing has filled in";
  return undefined;
}
