import type { Called } from "./app.ts";
import type { Parts } from "./http-setup.ts";

type Headers = Record<string, string>;

/** The calls of the sessions surface, of whom they are made. */
export function sessionCalls(parts: Parts) {
  const call = (method: string, path: string, body?: unknown, who: Headers = {}): Promise<Called> =>
    parts.app.call(method, `/api/v1${path}`, body, who);
  return {
    call,
    create: async (who?: Headers, body: object = {}) => (await call("POST", "/sessions", body, who)).json,
    get: (id: string, who?: Headers) => call("GET", `/sessions/${id}`, undefined, who),
    patch: (id: string, body: object, who?: Headers) => call("PATCH", `/sessions/${id}`, body, who),
    end: (id: string, who?: Headers, body?: object) => call("POST", `/sessions/${id}/end`, body, who),
    transfer: (id: string, body: object, who?: Headers) => call("POST", `/sessions/${id}/transfer`, body, who),
    accept: (id: string, who?: Headers, body?: object) => call("POST", `/sessions/${id}/accept`, body, who),
    say: (id: string, body: object, who?: Headers) => call("POST", `/sessions/${id}/messages`, body, who),
    messages: async (id: string, who?: Headers) => (await call("GET", `/sessions/${id}/messages`, undefined, who)).json,
  };
}

export const asUser = (sender_id: string, content: string, more: object = {}) => ({
  content,
  sender_type: "user",
  sender_id,
  ...more,
});
export const asAgent = (sender_id: string, content: string, more: object = {}) => ({
  content,
  sender_type: "agent",
  sender_id,
  ...more,
});
