import { createHash, timingSafeEqual } from "node:crypto";
import type { z } from "zod";
import type { Role } from "../core/identity.ts";

/** A key that a service shows; only its digest is known here. */
export type ServiceKey = { name: string; role: Role; digest: Buffer };

const ENTRY = /^([\w.-]{1,255}):(user|agent|admin):([0-9a-fA-F]{64})$/;

/** `crm:agent:<sha256 in hex>,…` */
export function serviceKeys(value: string, context: z.RefinementCtx): ServiceKey[] {
  const entries = value.split(",").map((entry) => ENTRY.exec(entry.trim()));
  const keys: ServiceKey[] = [];
  const refuse = (i: number, message: string) =>
    context.addIssue({ code: "custom", message: `entry ${i + 1} ${message}` });
  for (const [i, entry] of entries.entries()) {
    const [, name, role, hex] = entry ?? [];
    if (name === undefined || !isRole(role) || hex === undefined) {
      refuse(i, "must look like name:role:sha256, with a role of user, agent or admin, and 64 hex digits");
      continue;
    }
    const digest = Buffer.from(hex, "hex");
    if (keys.some((key) => key.name === name)) refuse(i, "has the name of another");
    if (keys.some((key) => key.digest.equals(digest))) refuse(i, "has the key of another");
    keys.push({ name, role, digest });
  }
  return keys;
}

const isRole = (role: string | undefined): role is Role => role === "user" || role === "agent" || role === "admin";

/** The service that shows this key. Every key is compared, so that the time taken tells nothing. */
export function findService(keys: readonly ServiceKey[], presented: string): ServiceKey | undefined {
  const digest = createHash("sha256").update(presented).digest();
  return keys.filter((key) => timingSafeEqual(key.digest, digest))[0];
}
