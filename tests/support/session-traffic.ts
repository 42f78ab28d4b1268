import { regenerate } from "../../src/core/answers.ts";
import { cancelTurn } from "../../src/core/cancel.ts";
import { renameConversation } from "../../src/core/conversations.ts";
import { AppError } from "../../src/core/errors.ts";
import { removeExtension } from "../../src/core/extensions.ts";
import { deletePost, editPost } from "../../src/core/post-changes.ts";
import { post } from "../../src/core/posting.ts";
import type { Move } from "../../src/core/session-moves.ts";
import { changeSession } from "../../src/core/sessions.ts";
import type { Post } from "../../src/core/thread.ts";
import { sleep } from "../../src/core/time.ts";
import { beginTurn } from "../../src/core/turns.ts";
import { NOW } from "./core-instance.ts";
import { type Call, type TestModels, testModels } from "./core-models.ts";
import { listPosts } from "./core-pages.ts";
import { pick, type Random } from "./core-random.ts";
import { hang } from "./core-sessions.ts";
import { ROOT, type Watching } from "./core-watch.ts";

/** What was said of each beginning of an answer; the first piece names it. */
export type Said = Map<string, string>;

/** The pace of people and of models: some milliseconds. */
const pace = (random: Random) => sleep(random(6));
const PIECES = ["Well", ", ", "I am ", "👋", "Par", "ley", ".\n", "数"] as const;

/** Answers piece by piece, at times anew, at times not to the end; what it says stands in `said`. */
export function talkative(random: Random, said: Said): TestModels {
  async function speak(call: Call): Promise<void> {
    let name = "";
    const say = (piece: string) => {
      said.set(name, `${said.get(name) ?? ""}${piece}`);
      call.say(piece);
    };
    const begin = () => {
      name = `#${said.size}:`;
      say(name);
    };
    begin();
    for (let i = random(30); i > 0; i--) {
      await pace(random);
      say(pick(random, PIECES));
      if (random(25) > 0) continue;
      call.restart();
      begin();
    }
    if (random(6) === 0) call.fail("provider_timeout");
    else call.end();
  }
  return testModels((call) => void speak(call));
}

/** Whoever writes may be refused: a state forbids it, or somebody was faster. */
async function unlessRefused(work: Promise<unknown>): Promise<void> {
  await work.catch((error) => {
    if (!(error instanceof AppError)) throw error;
  });
}

const MOVES: readonly [Move, ...Move[]] = [
  { to: "agent", agentId: null },
  { to: "agent", agentId: "agent-1" },
];

/** Does things to a session, one after the other, each at random, until it is enough. */
export async function write(
  at: Watching,
  id: string,
  { random, isEnough }: { random: Random; isEnough(): boolean },
): Promise<void> {
  const say = (content: string) =>
    post(at, ROOT, {
      ...{ conversationId: id, content, role: pick(random, ["user", "agent", "system"]), senderId: "root" },
      ...{ metadata: null, extensions: [], key: null },
    });
  const ask = (ifBusy: "queue" | "interrupt") =>
    beginTurn(at, ROOT, { conversationId: id, content: `Q${random(2 ** 30)}`, model: undefined, ifBusy });
  const some = async (): Promise<Post | undefined> => {
    const posts = await listPosts(at.db, ROOT, { conversationId: id, limit: 1_000 });
    return posts[random(posts.length)];
  };
  const onSome = (change: (post: Post) => Promise<unknown>) => async () => {
    const post = await some();
    if (post) await change(post);
  };
  const react = ({ id: messageId }: Post) =>
    hang(at, ROOT, { messageId, extension: { type: "reaction", data: { emoji: pick(random, ["👍", "👎"]) } } });
  const unreact = async ({ id: messageId, extensions: [first] }: Post) =>
    first && removeExtension(at, ROOT, { messageId, id: first.id });
  const cancel = async ({ turnId }: Post) => turnId && cancelTurn(at, ROOT, turnId);
  const again = ({ id: messageId }: Post) =>
    regenerate(at, ROOT, { messageId, model: undefined, key: null, options: null });
  const kinds: readonly [() => Promise<unknown>, ...(() => Promise<unknown>)[]] = [
    () => say(`Said ${random(1_000)}`),
    () => say(`Said ${random(1_000)}`),
    () => ask("queue"),
    () => ask("queue"),
    () => ask("interrupt"),
    onSome((one) => editPost(at, ROOT, { id: one.id, content: `Edited ${random(1_000)}` })),
    onSome((one) => deletePost(at, ROOT, one.id)),
    onSome(react),
    onSome(unreact),
    onSome(cancel),
    onSome(again),
    () =>
      changeSession(at, ROOT, { id, move: random(3) === 0 ? pick(random, MOVES) : null, metadata: { n: random(9) } }),
    () => changeSession(at, ROOT, { id, move: { to: "assistant" } }),
    () => renameConversation(at.db, ROOT, { id, title: `Title ${random(1_000)}`, now: NOW }),
  ];
  while (!isEnough()) {
    await unlessRefused(pick(random, kinds)());
    await pace(random);
  }
}
