import { startParley } from "./contenders.ts";
import { options } from "./options.ts";
import { inRounds, median, over, printHead, printRow, quantile } from "./rounds.ts";
import type { Scenario } from "./stage.ts";

// What a session of so many long messages costs beside one of ten: requests one after the other, in both by turns.

const SHORT = 10;
const LONG = 1_200;
const TEXT = "x".repeat(131_072);
/** Of one kind, in one session and round. */
const TIMES = 20;

type Session = { name: "short" | "long"; user: string; path: string };
type Call = (method: string, path: string, body?: object) => Promise<{ id: string }>;
/** Gives what is measured; what has to be there before is not. */
type Ask = (call: Call, session: Session) => Promise<() => Promise<unknown>>;

const say = (call: Call, session: Session, content: string) =>
  call("POST", `${session.path}/messages`, { content, sender_type: "agent", sender_id: "grace" });

const asks: Record<string, Ask> = {
  typing: async (call, session) => () =>
    call("POST", `${session.path}/typing`, { sender_id: session.user, typing: true }),
  read: async (call, session) => () => call("POST", `${session.path}/read`, { seq: 1, user_id: session.user }),
  edit: async (call, session) => {
    const { id } = await say(call, session, "Hello");
    return () => call("PATCH", `/api/v1/messages/${id}`, { content: "Good morning" });
  },
  "list: one message": async (call, session) => () => call("GET", `${session.path}/messages?limit=1`),
  "list: the user's sessions": async (call, session) => () => call("GET", `/api/v1/users/${session.user}/sessions`),
  send: async (call, session) => () => say(call, session, "Hello"),
  turn: async (call, session) => () =>
    call("POST", "/api/chat/send", { conversation_id: session.path.split("/").at(-1), message: "Hello" }),
};

export const longScenario: Scenario = {
  name: "long",
  async run(stage) {
    printHead([`ms in a session of ${SHORT} and of ${LONG} × 128 KiB`, "p50", "p50", "ratio", "p99", "p99"]);
    for (const database of stage.databases) {
      for (const runtime of Object.keys(stage.runtimes)) {
        const databaseUrl = await stage.fresh(database, `long_${runtime.toLowerCase()}`);
        const { url } = await startParley(stage, { runtime, databaseUrl });
        const call = caller(url);
        const sessions = { short: await filled(call, "short", SHORT), long: await filled(call, "long", LONG) };
        for (const [name, ask] of Object.entries(asks)) {
          printRow([`${database}, ${runtime}, ${name}`, ...(await compare(call, sessions, ask))]);
        }
      }
    }
  },
};

async function compare(call: Call, { short, long }: { short: Session; long: Session }, ask: Ask): Promise<string[]> {
  await timesOf(call, short, ask); // the first are slow for other reasons
  const rounds = await inRounds(options.rounds, [short, long], (session) => timesOf(call, session, ask));
  const figure = (session: Session, part: number) =>
    over(rounds, (round) => quantile(round.get(session) ?? [], part), 2);
  const half = (round: Map<Session, number[]>, session: Session) => median(round.get(session) ?? []);
  const ratio = over(rounds, (round) => half(round, long) / half(round, short), 2);
  return [figure(short, 0.5), figure(long, 0.5), ratio, figure(short, 0.99), figure(long, 0.99)];
}

/** Milliseconds of each of several requests, one after the other. */
async function timesOf(call: Call, session: Session, ask: Ask): Promise<number[]> {
  const times: number[] = [];
  for (let i = 0; i < TIMES; i++) {
    const request = await ask(call, session);
    const began = performance.now();
    await request();
    times.push(performance.now() - began);
  }
  return times;
}

const caller =
  (url: string): Call =>
  async (method, path, body) => {
    const response = await fetch(url + path, {
      method,
      ...(body && { headers: { "content-type": "application/json" }, body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}: ${text}`);
    return text === "" ? { id: "" } : JSON.parse(text);
  };

async function filled(call: Call, name: Session["name"], messages: number): Promise<Session> {
  const user = `${name}-${messages}`;
  const { id } = await call("POST", "/api/v1/sessions", { user_id: user });
  const session: Session = { name, user, path: `/api/v1/sessions/${id}` };
  for (let i = 0; i < messages; i++) await say(call, session, TEXT);
  return session;
}
