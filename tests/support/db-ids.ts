let made = 0;

/** A UUIDv7 that no other in its file is, each greater than those before it. */
export const nextId = (): string => `01990b5e-7c1a-7d2e-9f3a-${(++made).toString(16).padStart(12, "0")}`;
