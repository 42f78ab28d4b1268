/** Secrets that anybody can guess, and keys that nobody has put in. */

type Variable = { name: string; secret: string | null };

const PLACEHOLDER =
  /change[_-]?(me|this|it)|replace[_-]?(me|this|with)|secret[_-]?key|your[_-]|-here$|placeholder|x{6}|\.{3}|\u2026/i;
/** A random secret of 32 bytes has more different characters than this, however it is written. */
const FEW = 4;

/** A line for each secret that is set and guessable, without its value. */
export function guessable(given: Readonly<Record<string, string>>, variables: readonly Variable[]): string[] {
  return variables.flatMap(({ name, secret }) => {
    const value = given[name];
    const isKey = secret === "whole" || secret === "signing key" || name.endsWith("_API_KEY");
    if (value === undefined || !isKey) return [];
    if (PLACEHOLDER.test(value)) return [`${name}: looks like a placeholder; put the real one in its place`];
    const isSigning = name.endsWith("_SECRET") && new Set(value).size <= FEW;
    return isSigning
      ? [`${name}: can be guessed, as it repeats a few characters; take one of: openssl rand -base64 32`]
      : [];
  });
}
