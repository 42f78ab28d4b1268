import { createHash, createHmac, timingSafeEqual } from "node:crypto";
import { promisify } from "node:util";
import { gunzip } from "node:zlib";
import { AppError } from "../core/errors.ts";

/** Whether a webhook is Stream's: https://getstream.io/chat/docs/node/webhooks_overview/ */

/** A request as it came, with the headers that matter. */
export type Delivery = {
  /** Called once the headers are what they should be. */
  read(): Promise<Uint8Array>;
  signature: string | undefined;
  apiKey: string | undefined;
  webhookId: string | undefined;
};

export type Signer = {
  readonly apiKey: string;
  readonly secret: string;
  /** Bytes that a body may have once it is unpacked. */
  readonly most: number;
};

/** An event as text, and the id that its retries share. */
export type Opened = { id: string; text: string };

const SIGNATURE = /^[0-9a-f]{64}$/i;
const WEBHOOK_ID = /^[\x21-\x7e]{1,255}$/;

/**
 * Opens a webhook. Throws 401 unless its key is ours and its signature that of the body with our secret, 413 where it is
 * larger than it may be, also once it is unpacked.
 */
export async function openDelivery(delivery: Delivery, { apiKey, secret, most }: Signer): Promise<Opened> {
  const { signature = "", webhookId = "" } = delivery;
  if (delivery.apiKey !== apiKey || !SIGNATURE.test(signature)) throw unsigned(); // the key is no secret
  const body = await unpacked(await delivery.read(), most);
  const good = createHmac("sha256", secret).update(body).digest();
  if (!timingSafeEqual(good, Buffer.from(signature, "hex"))) throw unsigned();
  const digest = () => `sha256:${createHash("sha256").update(body).digest("hex")}`;
  return { id: WEBHOOK_ID.test(webhookId) ? webhookId : digest(), text: new TextDecoder().decode(body) };
}

const unsigned = () => new AppError("unauthorized", "The webhook's key or signature is not right.");

const unzip = promisify<Uint8Array, { maxOutputLength: number }, Buffer>(gunzip);

/** What a proxy has unpacked may still say that it is packed, so the bytes decide. */
async function unpacked(bytes: Uint8Array, most: number): Promise<Uint8Array> {
  if (bytes[0] !== 0x1f || bytes[1] !== 0x8b) return bytes;
  try {
    return await unzip(bytes, { maxOutputLength: most });
  } catch (error) {
    const isTooLarge = error instanceof Error && "code" in error && error.code === "ERR_BUFFER_TOO_LARGE";
    if (!isTooLarge) throw unsigned();
    throw new AppError("payload_too_large", `The body is larger than ${most} bytes once it is unpacked.`);
  }
}
