/** A guard of the product, and how it is taken out: `from` stands once in the file, and `to` is what is left of it. */
export type Guard = {
  /** The line of the threat list in SECURITY.md. */
  threat: string;
  what: string;
  file: string;
  from: string;
  to: string;
  /** The test file that must fail then. */
  test: string;
  /** The tests in it that are enough, as vitest's `-t`; all where it is left out. */
  name?: string;
};

/** The file's text without the guard. Throws where the guard is not to be found, or not for certain. */
export function without({ file, what, from, to }: Guard, text: string): string {
  const parts = text.split(from);
  if (parts.length !== 2) throw new Error(`${file}: "${what}" stands there ${parts.length - 1} times, not once`);
  return parts.join(to);
}
