import type { Frame } from "./stream-frames.ts";

/**
 * The text that a client puts together from a turn's frames, by their offsets, with what is wrong with these: each names
 * the restarts so far and the code units of the answer so far, and the frame that ends the turn is the last one.
 */
export function reassemble(frames: readonly Frame[]): { text: string; restarts: number; flaws: string[] } {
  const flaws: string[] = [];
  let [text, restarts] = ["", 0];
  for (const { event, id, data } of frames) {
    if (event === "message.restart") [text, restarts] = ["", restarts + 1];
    if (event === "message.delta") text += data.text;
    const isText = event === "message.restart" || event === "message.delta";
    if (isText && id !== `${restarts}-${text.length}`) flaws.push(`${event} has the id ${id} at ${text.length}`);
  }
  const ends = frames.filter(({ event }) => /^turn\.(completed|failed|cancelled)$/.test(event));
  if (ends.length !== 1 || ends[0] !== frames.at(-1)) flaws.push(`${ends.length} ends`);
  return { text, restarts, flaws };
}
