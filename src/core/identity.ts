import { AppError } from "./errors.ts";

export type Role = "user" | "agent" | "admin";

/**
 * Who calls: the user of a token; or a service by its key, and anybody where there is no authentication (`open`), who act
 * for whom a request names, with `userId` named for the whole of it.
 */
export type Principal =
  | { role: Role; userId: string }
  | { role: Role; service: string; userId: string | null }
  | { role: "open"; userId: string | null };

/** A caller acting for one user, as every query needs it. */
export type Actor = {
  /** The caller's own user id; for one who acts for others, that of the user it acts for. */
  self: string;
  /** `own`: the caller's conversations; `live`: these and every live one; `all`: everybody's. */
  sees: "own" | "live" | "all";
  /** A user that was named: nobody else's rows, whatever the caller may see. */
  owner: string | null;
  /** Whose lists are shown, and whose a new conversation becomes. */
  userId: string;
};

const ANONYMOUS = "anonymous";

const SEES = { user: "own", agent: "live", admin: "all", open: "all" } as const;

/** Throws 403 where a `user` names somebody else, or a service two users: which of them is meant nobody may guess. */
export function actAs(principal: Principal, named: string | undefined): Actor {
  const sees = SEES[principal.role];
  if (principal.role === "open") return actForOthers(sees, named ?? principal.userId, ANONYMOUS);
  if ("service" in principal) {
    if (named !== undefined && named !== (principal.userId ?? named)) throw twoNames();
    return actForOthers(sees, named ?? principal.userId, principal.service);
  }
  const { role, userId: self } = principal;
  if (role === "user" && named !== undefined && named !== self) {
    throw new AppError("forbidden", "user_id must be the token's own user, or be left out.");
  }
  const owner = role === "user" ? null : (named ?? null);
  return { self, sees, owner, userId: owner ?? self };
}

export const twoNames = (): AppError =>
  new AppError("forbidden", "The request names two different users; name one, in the body, the query or X-User-Id.");

/** As the user named, which is also whose idempotency keys count; where none is, as `otherwise`. */
function actForOthers(sees: Actor["sees"], owner: string | null, otherwise: string): Actor {
  const userId = owner ?? otherwise;
  return { self: userId, sees, owner, userId };
}
