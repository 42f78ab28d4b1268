import { AppError } from "./errors.ts";

export type Role = "user" | "agent" | "admin";

/** Who calls. `open` is a service without any authentication, where the caller only says who it is. */
export type Principal = { role: Role; userId: string } | { role: "open"; userId: string | null };

/** A caller acting for one user, as every query needs it. */
export type Actor = {
  /** The caller's own user id. */
  self: string;
  /** `own`: the caller's conversations; `live`: these and every live one; `all`: everybody's. */
  sees: "own" | "live" | "all";
  /** A user that was named: nobody else's rows, whatever the caller may see. */
  owner: string | null;
  /** Whose lists are shown, and whose a new conversation becomes. */
  userId: string;
};

const ANONYMOUS = "anonymous";

/** Throws 403 where a `user` names somebody else. */
export function actAs(principal: Principal, named: string | undefined): Actor {
  if (principal.role === "open") {
    const owner = named ?? principal.userId;
    return { self: owner ?? ANONYMOUS, sees: "all", owner, userId: owner ?? ANONYMOUS };
  }
  const { role, userId: self } = principal;
  if (role === "user") {
    if (named !== undefined && named !== self) {
      throw new AppError("forbidden", "user_id must be the token's own user, or be left out.");
    }
    return { self, sees: "own", owner: null, userId: self };
  }
  return { self, sees: role === "admin" ? "all" : "live", owner: named ?? null, userId: named ?? self };
}
