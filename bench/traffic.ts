/** What every client asks. */
export const QUESTION = "What did I tell you about the boat that we rented last summer, and how long was it?";

const FOUR = ["You told me ", "that the boat was ", "nine metres long, ", "and that it leaked."];
const MANY = Array.from({ length: 32 }, (_, i) => `of piece ${i + 1} we say `);

/** How a provider answers: piece by piece, all in one write, after so many milliseconds; or with no more than the first. */
export const manners: Record<string, { pieces: readonly string[]; afterMs: number; stalls?: true }> = {
  "at-once": { pieces: FOUR, afterMs: 0 },
  "32-pieces": { pieces: MANY, afterMs: 0 },
  "after-200-ms": { pieces: MANY, afterMs: 200 },
  "then-nothing": { pieces: FOUR, afterMs: 0, stalls: true },
};

export const MODEL = "bench-model";

/** Whose conversations are listed, where there are many, and the one of them that is long. */
export const LISTED = { user: "bench", long: "00000002-0000-7000-8000-000000000001" };
