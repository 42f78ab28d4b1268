/** What the parts of Parley tell each other in passing. A note may be lost: the database is the truth behind it. */
export type Note =
  | { type: "changed"; conversationId: string }
  | { type: "typing"; conversationId: string; senderId: string; typing: boolean };

/** Carries notes to whoever listens, in this process and in others. */
export type Bus = {
  send(note: Note): void;
  /** Hears every note from now on, until the function that it gives is called. */
  listen(hear: (note: Note, from: "here" | "elsewhere") => void): () => void;
};
