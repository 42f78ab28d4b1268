// biome-ignore lint/suspicious/noExplicitAny: a test reads whatever JSON came
export type Frame = { event: string; id: string | undefined; data: any };

/** What a client knows of a turn from the frames that it was sent, as `EventSource` and the contract would have it. */
export type Heard = {
  turnId: string | undefined;
  text: string;
  /** The id of the last event that arrived, for `Last-Event-ID`. */
  lastId: string | undefined;
  restarts: number;
  /** The frame that ended the turn. */
  end: Frame | undefined;
};

export const nothingHeard = (): Heard => ({
  turnId: undefined,
  text: "",
  lastId: undefined,
  restarts: 0,
  end: undefined,
});

/** Takes a frame in. */
export function hear(heard: Heard, frame: Frame): void {
  if (frame.id !== undefined) heard.lastId = frame.id;
  if (frame.event === "turn.started") heard.turnId = frame.data.turn_id;
  else if (frame.event === "message.delta") heard.text += frame.data.text;
  else if (frame.event === "message.restart") {
    heard.text = "";
    heard.restarts++;
  } else if (frame.event !== "turn.status") heard.end = frame;
}

/** Cuts a stream of text into its frames; what is not whole yet waits for the rest. */
export function createFrames(
  onFrame: (frame: Frame) => void,
  onComment: () => void = () => {},
): (text: string) => void {
  let held = "";
  return (text) => {
    const blocks = (held + text).split("\n\n");
    held = blocks.pop() ?? "";
    for (const block of blocks) {
      if (block.startsWith(":")) onComment();
      else onFrame(frameOf(block));
    }
  };
}

function frameOf(block: string): Frame {
  const fields = new Map(block.split("\n").map((line) => [line.slice(0, line.indexOf(":")), line]));
  const field = (name: string) => fields.get(name)?.slice(name.length + 2);
  return { event: field("event") ?? "", id: field("id"), data: JSON.parse(field("data") ?? "null") };
}
