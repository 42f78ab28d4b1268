import type { ModelMessage } from "../core/model.ts";
import type { Provider } from "./provider.ts";

/** The built-in model: needs no network and no key, and says what it is. It answers from the conversation itself. */
export const echo: Provider = async function* ({ messages }, signal) {
  for (const word of echoReply(messages).match(/\S+\s*/g) ?? []) {
    if (signal.aborted) return yield { type: "failed", kind: "cancelled" };
    yield { type: "delta", text: word };
  }
  yield { type: "end", finishReason: "stop" };
};

/** What the offline model answers: the earlier line that has most in common with the question, or the question itself. */
export function echoReply(messages: readonly ModelMessage[]): string {
  const said = messages.filter((message) => message.role === "user").map((message) => message.content);
  const question = said.pop() ?? "";
  const sign = "(This is Parley's offline model; no provider is configured.)";
  const earlier = mostAlike(question, said);
  if (earlier) return `You told me earlier: “${earlier}”. ${sign}`;
  const count = said.length === 0 ? "This is your first message here" : `I remember ${plural(said.length)} before it`;
  return `You said: “${question}”. ${count}. ${sign}`;
}

const plural = (count: number) => (count === 1 ? "one message" : `${count} messages`);

function mostAlike(question: string, said: readonly string[]): string | undefined {
  const asked = words(question);
  let best: string | undefined;
  let most = 0;
  for (const line of said) {
    if (line.trim() === question.trim()) continue;
    const shared = [...words(line)].filter((word) => asked.has(word)).length;
    if (shared > 0 && shared >= most) [best, most] = [line, shared]; // of equals, the newer
  }
  return best;
}

// Words too common to remember by.
const COMMON = new Set(
  "about and are can did does for from have her his how its just know like not our please she tell that the their them then there they this was were what when where which who why will with would you your".split(
    " ",
  ),
);

function words(text: string): Set<string> {
  const found = text.toLowerCase().match(/[\p{L}\p{N}]{3,}/gu) ?? [];
  return new Set(found.filter((word) => !COMMON.has(word)));
}
