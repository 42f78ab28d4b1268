import type { HeldToken } from "./env.ts";

/** A token whose key is withdrawn is noticed in so long, beside what the keys themselves take. In milliseconds. */
const LOOK_MS = 60_000;

/** Calls `over` once the token would be taken no more; gives what stops looking. */
export function whenExpired(token: HeldToken | undefined, over: () => void): () => void {
  if (!token) return () => {};
  let timer: ReturnType<typeof setTimeout>;
  let isDone = false;
  const look = async () => {
    const isOver = Date.now() >= token.expiresAt || !(await token.isValid().catch(() => true));
    if (isDone) return;
    if (isOver) over();
    else plan();
  };
  const plan = () => {
    timer = setTimeout(look, Math.max(0, Math.min(token.expiresAt - Date.now(), LOOK_MS)));
  };
  plan();
  return () => {
    isDone = true;
    clearTimeout(timer);
  };
}
