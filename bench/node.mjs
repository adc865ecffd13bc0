// node's own http server, told to keep connections for as long as the load does, with the answers that the
// loads of bench/run ask for: /, /1k, /64k, and POST /echo.
// Usage: node bench/node.mjs PORT
import { createServer } from "node:http";

const letters = Buffer.from("abcdefghijklmnopqrstuvwxyz".repeat(65536 / 26 + 1)).subarray(0, 65536);
const bodies = new Map([
  ["/", "Hello, World!"],
  ["/1k", letters.subarray(0, 1024)],
  ["/64k", letters],
]);

const server = createServer((request, response) => {
  const body = bodies.get(request.url);
  response.setHeader("Content-Type", "text/plain");
  if (body) {
    response.end(body);
  } else if (request.url === "/echo" && request.method === "POST") {
    const chunks = [];
    request.on("data", (chunk) => chunks.push(chunk));
    request.on("end", () => response.end(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
  } else {
    response.statusCode = 404;
    response.end();
  }
});
server.keepAliveTimeout = 0;
server.listen({ port: Number(process.argv[2] ?? 8080), host: "127.0.0.1", backlog: 4096 });
