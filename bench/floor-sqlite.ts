import Database from "better-sqlite3";
import { migrateSqlite } from "../src/db/migrate.ts";
import type { Row, Shown, Store } from "./floor.ts";

const USER = "anonymous";

const takeRevs = `
  update conversations set rev = rev + 2, open_turns = open_turns + 1, message_count = message_count + 1,
    last_message = ?, title = coalesce(title, ?), updated_at = ?
  where id = ? and user_id = ? and status <> 'ended' and control = 'assistant' and open_turns <= 16
  returning rev`;

const createWithRevs = `
  insert into conversations (last_message, title, updated_at, id, user_id, rev, open_turns, message_count, created_at)
  values (?, ?, ?, ?, ?, 2, 1, 1, ?) returning rev`;

const insertPair = `
  insert into messages (id, conversation_id, turn_id, seq, rev, role, sender_id, content, status, created_at)
  values (?, ?, ?, ?, ?, 'user', ?, ?, 'completed', ?), (?, ?, ?, ?, ?, 'assistant', null, '', 'in_progress', ?)`;

const insertTurn = `
  insert into turns (id, conversation_id, user_id, user_message_id, message_id, status, model, lease_until, created_at)
  values (?, ?, ?, ?, ?, 'in_progress', 'balanced', cast(unixepoch('subsec') * 1000 as integer) + 10000, ?)`;

const selectShown = `
  select role, content from messages
  where conversation_id = ? and seq < ? and status in ('completed', 'incomplete') and content <> ''
    and deleted_at is null and superseded_at is null
  order by seq desc limit 200`;

const closeOnConversation = `
  update conversations set rev = rev + 1, open_turns = open_turns - 1, message_count = message_count + 1,
    last_message = ?, updated_at = ?
  where id = ? returning rev`;

const closeTurn = `
  update turns set status = 'completed', target = ?, finish_reason = ?, usage = ?, attempts = ?, context = ?,
    lease_until = null, completed_at = ?
  where id = ? and status = 'in_progress'`;

const writeAnswer = "update messages set content = ?, status = 'completed', model = ?, rev = ? where id = ?";

const insertEmpty =
  "insert into conversations (id, user_id, title, created_at, updated_at) values (?, ?, ?, ?, ?) returning id";

const selectList = `
  select id, user_id, title, created_at, updated_at, message_count from conversations
  where user_id = ? order by updated_at desc, id desc limit ?`;

const countList = "select count(*) from conversations where user_id = ?";

const selectLast = `
  select m.id, m.conversation_id as chat_id, m.role, m.content, m.created_at
  from messages m join conversations c on c.id = m.conversation_id
  where m.conversation_id = ? and c.user_id = ? and m.role <> 'system' and m.status in ('completed', 'incomplete')
    and m.content <> '' and m.deleted_at is null and m.superseded_at is null
  order by m.seq desc limit ?`;

const selectOne = "select * from conversations where id = ? and user_id = ?";

/** Raw prepared statements, a transaction of its own for each write; PRAGMAs as Parley's, with synchronous = NORMAL. */
export function sqliteStore(url: string): Store {
  const db = new Database(url.slice("sqlite:///".length));
  for (const pragma of ["journal_mode = WAL", "synchronous = NORMAL", "temp_store = MEMORY", "cache_size = -16000"]) {
    db.pragma(pragma);
  }
  migrateSqlite(db); // leaves foreign keys on
  const begin = db.prepare("begin immediate");
  const commit = db.prepare("commit");
  const take = db.prepare<unknown[], { rev: number }>(takeRevs);
  const create = db.prepare<unknown[], { rev: number }>(createWithRevs);
  const close = db.prepare<unknown[], { rev: number }>(closeOnConversation);
  const pair = db.prepare(insertPair);
  const turn = db.prepare(insertTurn);
  const ended = db.prepare(closeTurn);
  const answer = db.prepare(writeAnswer);
  const shown = db.prepare<unknown[], Shown>(selectShown);
  const empty = db.prepare(insertEmpty);
  const listed = db.prepare<unknown[], Row>(selectList);
  const counted = db.prepare<unknown[], number>(countList).pluck();
  const last = db.prepare<unknown[], Row>(selectLast);
  const one = db.prepare(selectOne);

  return {
    begin({ conversationId, isNew, turnId, questionId, answerId, content, now }) {
      begin.run();
      const listed = [content, content, now, conversationId, USER];
      const row = isNew ? create.get(...listed, now) : take.get(...listed);
      if (!row) throw new Error("no such conversation");
      const { rev } = row;
      const question = [questionId, conversationId, turnId, rev - 1, rev - 1, USER, content, now];
      pair.run(...question, answerId, conversationId, turnId, rev, rev, now);
      turn.run(turnId, conversationId, USER, questionId, answerId, now);
      commit.run();
      return rev;
    },
    context: (conversationId, seq) => shown.all(conversationId, seq),
    finish({ conversationId, turnId, answerId }, _seq, { content, target, finishReason, now, ...more }) {
      const json = [more.usage, more.attempts, more.context].map((value) => JSON.stringify(value));
      begin.run();
      const row = close.get(content, now, conversationId);
      ended.run(target, finishReason, ...json, now, turnId);
      answer.run(content, target, row?.rev, answerId);
      commit.run();
    },
    create({ id, title, now }) {
      begin.run();
      empty.get(id, USER, title, now, now);
      commit.run();
    },
    list: (user, limit) => [listed.all(user, limit), counted.get(user) ?? 0],
    last(user, conversationId, limit) {
      if (!one.get(conversationId, user)) throw new Error("no such conversation");
      return last.all(conversationId, user, limit);
    },
  };
}
