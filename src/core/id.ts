import { randomUUID } from "node:crypto";

/** A UUIDv7 (RFC 9562): the time in milliseconds, then the random part of a v4, which the runtimes make fastest. */
export function newId(): string {
  const time = Date.now().toString(16).padStart(12, "0");
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`;
}
