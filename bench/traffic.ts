/** What every client asks. */
export const QUESTION = "What did I tell you about the boat that we rented last summer, and how long was it?";

/** What the provider answers, piece by piece. */
export const PIECES = ["You told me ", "that the boat was ", "nine metres long, ", "and that it leaked."] as const;

export const ANSWER = PIECES.join("");

export const MODEL = "bench-model";
