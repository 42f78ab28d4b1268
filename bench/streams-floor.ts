import { createServer } from "node:http";

// The least that holds an event stream open: it says a few words, then nothing.

const WORDS = 'id: 0-41\nevent: message.delta\ndata: {"text":"a few words, and then nothing for a while"}\n\n';
const HEADERS = { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" };

if (process.versions["bun"]) {
  const stream = () =>
    new ReadableStream({
      start(controller) {
        controller.enqueue(new TextEncoder().encode(WORDS));
      },
    });
  const server = Bun.serve({
    port: 0,
    hostname: "127.0.0.1",
    fetch(request, bun) {
      bun.timeout(request, 0);
      return new Response(stream(), { headers: HEADERS });
    },
  });
  console.log(JSON.stringify({ url: `http://127.0.0.1:${server.port}` }));
} else {
  const server = createServer((_, response) => {
    response.writeHead(200, HEADERS);
    response.write(WORDS);
  });
  server.listen(0, "127.0.0.1", () => {
    const address = server.address();
    if (typeof address !== "object" || address === null) throw new Error("no port");
    console.log(JSON.stringify({ url: `http://127.0.0.1:${address.port}` }));
  });
}
