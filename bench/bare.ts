import { createServer, type ServerResponse } from "node:http";

// The least that holds event streams open: it says a few words, then nothing; what is posted to it, it writes to each.

const WORDS = ':\n\nid: 0-12\nevent: message.delta\ndata: {"text":"You told me "}\n\n';
const HEADERS = { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" };

if (process.versions["bun"]) serveOnBun();
else serveOnNode();

function serveOnNode(): void {
  const readers = new Set<ServerResponse>();
  const server = createServer((request, response) => {
    if (request.url === "/health") return void response.end();
    if (request.method === "GET") {
      response.writeHead(200, HEADERS);
      response.write(WORDS);
      readers.add(response);
      return void response.on("close", () => readers.delete(response));
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
  const port = Number(process.env["PORT"] ?? 0);
  server.listen({ host: "127.0.0.1", port, backlog: 8192 }, () => {
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}` }));
  });
}

function serveOnBun(): void {
  const stream = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(WORDS));
      },
    });
  const server = Bun.serve({
    port: Number(process.env["PORT"] ?? 0),
    hostname: "127.0.0.1",
    fetch(request, bun) {
      if (request.url.endsWith("/health")) return new Response();
      bun.timeout(request, 0);
      return new Response(stream(), { headers: HEADERS });
    },
  });
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.port}` }));
}
