import { randomUUID } from "node:crypto";
import { describe, expect, it, onTestFinished } from "vitest";
import { type OpenBus, openBus } from "../../src/bus/bus.ts";
import { openRedis } from "../../src/bus/redis.ts";
import type { Note } from "../../src/core/notes.ts";
import type { Carrier } from "../../src/db/carrier.ts";
import { openForTest } from "../support/core-instance.ts";
import { eventually } from "../support/core-models.ts";
import { freshPostgres } from "../support/databases.ts";
import { connectPostgres } from "../support/db-postgres.ts";
import { describeRedis, REDIS_MAY_TAKE_MS, type RedisServer, startRedis } from "../support/redis.ts";

type Ear = { bus: OpenBus; heard: { note: Note; from: "here" | "elsewhere" }[]; warned: string[] };

async function listenOn(carrier: Carrier | null): Promise<Ear> {
  const heard: Ear["heard"] = [];
  const warned: string[] = [];
  const bus = await openBus(carrier, { warn: (_, message) => void warned.push(message) });
  bus.listen((note, from) => void heard.push({ note, from }));
  onTestFinished(() => bus.close());
  return { bus, heard, warned };
}

const changed = (conversationId: string = randomUUID()): Note => ({ type: "changed", conversationId });
const typing = (conversationId: string): Note => ({ type: "typing", conversationId, senderId: "ada", typing: true });
const fromElsewhere = ({ heard }: Ear) => heard.filter(({ from }) => from === "elsewhere").map(({ note }) => note);

/** Sends until the other hears it: what is sent while nobody listens is lost, as it may be. */
async function untilHeard(from: Ear, to: Ear): Promise<void> {
  const note = changed();
  await eventually(() => {
    from.bus.send(note);
    expect(fromElsewhere(to)).toContainEqual(note);
  });
}

describe("notes within a process", () => {
  it("are told at once, to all who listen, until they stop or it closes", async () => {
    const { bus, heard } = await listenOn(null);
    const more: Note[] = [];
    const stop = bus.listen((note) => void more.push(note));
    bus.send(changed("1"));
    bus.send(typing("1"));
    stop();
    bus.send(changed("2"));
    await bus.close();
    bus.send(changed("3"));
    expect(heard).toEqual([changed("1"), typing("1"), changed("2")].map((note) => ({ note, from: "here" })));
    expect(more).toHaveLength(2);
  });

  it("are told though nothing can be heard of others: the service starts, and says so once", async () => {
    const refused = new Error("cannot listen in transaction mode");
    const carrier: Carrier = {
      ...{ longest: 8_000, carriesTyping: false, publish: () => Promise.reject(refused) },
      subscribe: () => Promise.reject(refused),
    };
    const { bus, heard, warned } = await listenOn(carrier);
    expect(warned).toHaveLength(1);
    bus.send(changed());
    expect(heard).toHaveLength(1);
    await bus.close();
  });
});

/** What holds whatever carries the notes. */
function carriesNotes(carriers: () => Promise<[Carrier | null, Carrier | null]>) {
  it("hears each note of the other once, and its own only once", async () => {
    const [one, other] = await Promise.all((await carriers()).map(listenOn));
    if (!one || !other) throw new Error("two were opened");
    await untilHeard(one, other);
    await untilHeard(other, one);
    const notes = Array.from({ length: 700 }, () => changed()); // more than fits into one text
    const sent = new Set(notes.map(({ conversationId }) => conversationId));
    const heardBy = (ear: Ear) => fromElsewhere(ear).filter(({ conversationId }) => sent.has(conversationId));
    for (const note of [...notes, ...notes]) one.bus.send(note);
    await eventually(() => expect(heardBy(other)).toHaveLength(notes.length));
    expect(heardBy(other)).toEqual(expect.arrayContaining(notes));
    await untilHeard(other, one); // what it sent itself would have come by now
    expect(heardBy(one)).toEqual([]);
  });

  it("has sent off what waits once it is closed", async () => {
    const [carrier, otherCarrier] = await carriers();
    if (!carrier) throw new Error("there is no carrier");
    const sent: string[] = [];
    const publish = (text: string) => carrier.publish(text).then(() => void sent.push(text));
    const [one, other] = [await listenOn({ ...carrier, publish }), await listenOn(otherCarrier)];
    await untilHeard(one, other);
    const last = randomUUID();
    one.bus.send(changed(last));
    await one.bus.close();
    expect(sent.at(-1)).toContain(last);
    await eventually(() => expect(fromElsewhere(other)).toContainEqual(changed(last)));
  });
}

describe("a process on Postgres", () => {
  async function carriers(): Promise<[Carrier | null, Carrier | null]> {
    const url = await freshPostgres();
    return [(await openForTest(url)).carrier, (await openForTest(url)).carrier];
  }
  carriesNotes(carriers);

  it("does not hear who types", async () => {
    const [one, other] = await Promise.all((await carriers()).map(listenOn));
    if (!one || !other) throw new Error("two were opened");
    one.bus.send(typing("1"));
    await untilHeard(one, other);
    expect(fromElsewhere(other).map(({ type }) => type)).not.toContain("typing");
  });

  it("listens again after the server has ended its connection", async () => {
    const url = await freshPostgres();
    const [one, other] = [await openForTest(url), await openForTest(url)];
    const [here, there] = [await listenOn(one.carrier), await listenOn(other.carrier)];
    await untilHeard(here, there);
    const outside = connectPostgres(url);
    for (let times = 0; times < 3; times++) {
      const ended = await outside`select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and query ilike 'listen%'`;
      expect(ended).toHaveLength(2);
      await untilHeard(here, there);
      await untilHeard(there, here);
    }
  });
});

describeRedis("a process on Redis", () => {
  const quiet = { info: () => {}, warn: () => {} };
  async function redisForTest(): Promise<RedisServer> {
    const server = await startRedis();
    onTestFinished(() => server.kill());
    return server;
  }
  async function carrierOf({ url }: RedisServer): Promise<Carrier> {
    const redis = await openRedis(url, quiet, REDIS_MAY_TAKE_MS);
    onTestFinished(() => redis.close());
    return redis.carrier;
  }
  carriesNotes(async () => {
    const server = await redisForTest();
    return [await carrierOf(server), await carrierOf(server)];
  });

  it("hears who types, also after Redis was away: at its start, and later", async () => {
    const server = await redisForTest();
    await server.kill();
    const [here, there] = [await listenOn(await carrierOf(server)), await listenOn(await carrierOf(server))];
    here.bus.send(changed());
    for (let times = 0; times < 2; times++) {
      await server.start();
      await untilHeard(here, there);
      await untilHeard(there, here);
      const note = typing(`${times}`);
      here.bus.send(note);
      await eventually(() => expect(fromElsewhere(there)).toContainEqual(note));
      await server.kill();
      here.bus.send(changed());
    }
    expect([...here.warned, ...there.warned]).toEqual([]);
  });

  it("closes where Redis stands still", async () => {
    const server = await redisForTest();
    const { bus } = await listenOn(await carrierOf(server));
    server.freeze();
    onTestFinished(() => server.thaw());
    bus.send(changed());
    await bus.close();
  });
});
