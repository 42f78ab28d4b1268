import { afterAll, beforeAll } from "vitest";
import { createTransport, type Transport } from "../../src/models/transport.ts";
import { createStreamChat, type StreamChat, type StreamChatOptions } from "../../src/stream-chat/client.ts";
import { type FakeStream, startStream } from "./stream.ts";

export type Parts = {
  fake: FakeStream;
  stream: StreamChat;
  /** Another client of the same app, or of none. */
  client(options?: Partial<StreamChatOptions>): StreamChat;
};

/** A fake Stream and a client of it, for all tests of a `describe`. */
export function useStream(options: Parameters<typeof startStream>[0] = {}): Parts {
  const parts = {} as Parts;
  let transport: Transport;
  beforeAll(async () => {
    transport = createTransport();
    const fake = await startStream(options);
    const { url: baseUrl, apiKey, secret } = fake;
    const client: Parts["client"] = (more) =>
      createStreamChat({ baseUrl, apiKey, secret, send: transport.send, clock: Date.now, ...more });
    Object.assign(parts, { fake, client, stream: client() });
  });
  afterAll(async () => {
    await parts.fake?.close();
    await transport?.close();
  });
  return parts;
}
