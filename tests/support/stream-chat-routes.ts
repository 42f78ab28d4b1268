import type { CallKind } from "../../src/stream-chat/quota.ts";
import { changeChannel, changeMembers, deleteChannel, openChannel, sendEvent } from "./stream-chat-channels.ts";
import {
  addReaction,
  changeMessage,
  deleteMessage,
  getMessage,
  listReactions,
  removeReaction,
  sendMessage,
} from "./stream-chat-messages.ts";
import {
  type Caller,
  type Fields,
  fieldsOf,
  queryUsers,
  refuse,
  type State,
  upsertUsers,
} from "./stream-chat-state.ts";

export type Asked = { method: string; path: string; query: URLSearchParams; body: Fields };

type Parts = { id: string; type: string };
type Handler = (state: State, caller: Caller, asked: Asked & Parts) => Fields;
type Route = { method: string; path: RegExp; kind: CallKind; status?: number; serverOnly?: true; run: Handler };

const channel = (rest = "") => new RegExp(`^/channels/messaging/(?<id>[^/]+)${rest}$`);
const message = (rest = "") => new RegExp(`^/messages/(?<id>[^/]+)${rest}$`);

/** Stream's REST API, as far as Parley calls it. */
const routes: readonly Route[] = [
  {
    ...{ method: "POST", path: /^\/users$/, kind: "UpdateUsers", status: 201, serverOnly: true },
    run: (state, _, { body }) => ({ users: upsertUsers(state, fieldsOf(body["users"], "users")), duration: "1.00ms" }),
  },
  {
    ...{ method: "GET", path: /^\/users$/, kind: "QueryUsers", serverOnly: true },
    run: (state, _, { query }) => ({ users: queryUsers(state, query.get("payload") ?? "{}"), duration: "1.00ms" }),
  },
  { method: "POST", path: channel("/query"), kind: "GetOrCreateChannel", status: 201, run: openChannel },
  {
    ...{ method: "PATCH", path: channel(), kind: "UpdateChannel", serverOnly: true },
    run: (state, _, asked) => changeChannel(state, asked),
  },
  {
    ...{ method: "POST", path: channel(), kind: "UpdateChannel", status: 201, serverOnly: true },
    run: (state, _, asked) => changeMembers(state, asked),
  },
  {
    ...{ method: "DELETE", path: channel(), kind: "DeleteChannel", serverOnly: true },
    run: (state, _, { id, query }) => deleteChannel(state, { id, hard: query.get("hard_delete") === "true" }),
  },
  { method: "POST", path: channel("/message"), kind: "SendMessage", status: 201, run: sendMessage },
  { method: "POST", path: channel("/event"), kind: "SendEvent", status: 201, run: sendEvent },
  { method: "GET", path: message(), kind: "GetMessage", run: (state, _, { id }) => getMessage(state, id) },
  {
    ...{ method: "PUT", path: message(), kind: "UpdateMessage" },
    run: (state, caller, asked) => changeMessage(state, caller, { ...asked, kept: true }),
  },
  {
    ...{ method: "PATCH", path: message("/ephemeral"), kind: "UpdateMessageEphemeral", serverOnly: true },
    run: (state, caller, asked) => changeMessage(state, caller, { ...asked, kept: false }),
  },
  {
    ...{ method: "DELETE", path: message(), kind: "DeleteMessage" },
    run: (state, caller, { id, query }) => deleteMessage(state, caller, { id, hard: query.get("hard") === "true" }),
  },
  { method: "POST", path: message("/reaction"), kind: "SendReaction", status: 201, run: addReaction },
  {
    ...{ method: "DELETE", path: message("/reaction/(?<type>[^/]+)"), kind: "DeleteReaction" },
    run: (state, caller, { id, type, query }) =>
      removeReaction(state, caller, { id, type, userId: query.get("user_id") }),
  },
  {
    ...{ method: "GET", path: message("/reactions"), kind: "GetReactions" },
    run: (state, _, { id, query }) =>
      listReactions(state, { id, limit: Number(query.get("limit") ?? 10), offset: Number(query.get("offset") ?? 0) }),
  },
  {
    method: "GET",
    path: /^\/app$/,
    kind: "GetApp",
    serverOnly: true,
    run: () => ({ app: { name: "fake" }, duration: "1.00ms" }),
  },
];

export type Found = { kind: CallKind; run(state: State, caller: Caller): { status: number; body: Fields } };

/** Which call of the API this is; null for none. */
export function findRoute(asked: Asked): Found | null {
  for (const { method, path, kind, status = 200, serverOnly, run } of routes) {
    const found = method === asked.method ? path.exec(asked.path) : null;
    if (!found) continue;
    const [id, type] = [found.groups?.["id"] ?? "", found.groups?.["type"] ?? ""].map(decodeURIComponent);
    return {
      kind,
      run(state, caller) {
        if (serverOnly && !caller.server) throw refuse.denied("User is not allowed to do this");
        return { status, body: run(state, caller, { ...asked, id: id ?? "", type: type ?? "" }) };
      },
    };
  }
  return null;
}
