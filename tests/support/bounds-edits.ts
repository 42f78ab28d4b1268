import { LONGEST } from "./bounds-database.ts";
import type { Service } from "./service.ts";

/** Messages of one user in a session: the fullest takes no more, the others have much on them and can be edited. */
export type Edited = { session: string; fullest: string; editable: string[] };

const TRIES = 100;

/** Makes messages as long as they can be made over the wire: by edits, and by what hangs on them. */
export async function editTheLongest(
  { call }: Pick<Service, "call">,
  headers: Record<string, string>,
): Promise<Edited> {
  const session = (await call("POST", "/api/v1/sessions", {}, headers)).json.id;
  const longest = "y".repeat(LONGEST);
  const say = async (): Promise<string> => {
    const said = { content: longest, sender_type: "user", sender_id: "alice" };
    return (await call("POST", `/api/v1/sessions/${session}/messages`, said, headers)).json.id;
  };
  async function untilRefused(method: string, path: string, body: unknown): Promise<void> {
    for (let i = 0; i < TRIES; i++) if ((await call(method, path, body, headers)).status >= 400) return;
  }
  const hang = (id: string) =>
    untilRefused("POST", `/api/v1/messages/${id}/extensions`, {
      extension_type: "note",
      data: { a: "y".repeat(16_000) },
    });
  const fullest = await say();
  await untilRefused("PATCH", `/api/v1/messages/${fullest}`, { content: longest });
  await hang(fullest);
  const editable: string[] = [];
  for (let i = 0; i < 3; i++) {
    const id = await say();
    await call("PATCH", `/api/v1/messages/${id}`, { content: "short" }, headers);
    await hang(id);
    editable.push(id);
  }
  return { session, fullest, editable };
}
