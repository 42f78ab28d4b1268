import { connect, type Socket } from "node:net";

export type Raw = {
  socket: Socket;
  /** What came so far, a character a byte. */
  text(): string;
  /** All that came, once the other side has ended the connection or reset it. */
  over: Promise<string>;
};

/** A connection of its own to which `text` is written as it stands, a byte a character. */
export function openRaw(url: string, text = ""): Raw {
  const { hostname, port } = new URL(url);
  let got = "";
  const socket = connect(Number(port), hostname, () => void (text === "" || socket.write(text, "latin1")));
  socket.setEncoding("latin1").on("data", (part) => {
    got += part;
  });
  socket.on("error", () => {}); // "close" follows
  const over = new Promise<string>((resolve) => socket.on("close", () => resolve(got)));
  return { socket, text: () => got, over };
}

/** A response that says all that HTTP wants of one. */
export const RESPONSE = /^HTTP\/1\.1 \d{3} [^\r\n]+\r\n([\w-]+: [^\r\n]*\r\n)*\r\n/;

/** The status of each response in what came. */
export const statusesOf = (text: string): number[] =>
  [...text.matchAll(/HTTP\/1\.1 (\d{3}) /g)].map(([, status]) => Number(status)).filter((status) => status >= 200);
