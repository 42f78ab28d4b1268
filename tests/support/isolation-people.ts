import type { Role } from "../../src/core/identity.ts";
import { mintToken } from "../../src/http/tokens.ts";
import { SECRET } from "./app.ts";

export type Caller = { role: Role; userId: string };

let people = 0;

/** Somebody whom no other test has. */
export const somebody = (role: Role = "user"): Caller => ({ role, userId: `${role}-${++people}` });

export const tokenOf = ({ userId: sub, role }: Caller) => mintToken(SECRET, { sub, role, expires: "1h" });
