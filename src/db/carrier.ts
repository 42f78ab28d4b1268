/** Brings texts to other instances; some may get lost. */
export type Carrier = {
  /** The longest text that it carries, in bytes. */
  readonly longest: number;
  /** Whether it takes what is of interest for a moment only. */
  readonly carriesTyping: boolean;
  publish(text: string): Promise<void>;
  /** Hears the texts of all instances, its own too. Resolves with what stops it. */
  subscribe(hear: (text: string) => void): Promise<() => Promise<void>>;
};
