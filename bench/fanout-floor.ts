import { createServer, type ServerResponse } from "node:http";

// The least that tells a thousand of a message: it writes the same bytes to every socket, and knows nothing else.

const readers = new Set<ServerResponse>();
const server = createServer((request, response) => {
  if (request.method === "GET") {
    response.writeHead(200, { "content-type": "text/event-stream" });
    response.write(":\n\n");
    readers.add(response);
    response.on("close", () => readers.delete(response));
    return;
  }
  let body = "";
  request.setEncoding("utf8").on("data", (text) => {
    body += text;
  });
  request.on("end", () => {
    for (const reader of readers) reader.write(body);
    response.end();
  });
});
server.listen(0, "127.0.0.1", () => {
  const address = server.address();
  if (typeof address !== "object" || address === null) throw new Error("no port");
  console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}` }));
});
