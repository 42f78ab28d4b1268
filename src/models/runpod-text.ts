const LONE_BYTES = /(?<![\ud800-\udbff])[\udc80-\udcff]+/g;
const MAY_GO_ON = /(?:[\ud800-\udbff]|(?<![\ud800-\udbff])[\udc80-\udcff]+)$/;

/**
 * Joins characters that were cut into bytes: a Python worker passes on each byte that it could not decode as U+DC80 to
 * U+DCFF (its `surrogateescape`). What may go on in the next piece is held, until it is called without one.
 */
export function byteJoiner(): (piece?: string) => string {
  let held = "";
  return (piece) => {
    const whole = held + (piece ?? "");
    held = piece === undefined ? "" : (MAY_GO_ON.exec(whole)?.[0] ?? "");
    const ready = held === "" ? whole : whole.slice(0, -held.length);
    return ready.replace(LONE_BYTES, decoded);
  };
}

const decoded = (escaped: string) => Buffer.from(Array.from(escaped, lowByte)).toString("utf8");
const lowByte = (unit: string) => unit.charCodeAt(0) & 0xff;

const STREAM_STARTS = ["data: {", "data:{", "data: [DONE]", "data:[DONE]"];

/** Whether text begins like an event stream of chunks; undefined while it is too short to tell. */
export function isEventStream(text: string): boolean | undefined {
  const start = text.trimStart();
  if (STREAM_STARTS.some((known) => start.startsWith(known))) return true;
  return STREAM_STARTS.some((known) => known.startsWith(start)) ? undefined : false;
}
