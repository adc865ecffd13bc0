// node's own http server, told to keep connections for as long as the load does.
// Usage: node bench/node.mjs PORT
import { createServer } from "node:http";

const server = createServer((request, response) => {
  response.setHeader("Content-Type", "text/plain");
  response.end("Hello, World!");
});
server.keepAliveTimeout = 0;
server.listen({ port: Number(process.argv[2] ?? 8080), host: "127.0.0.1", backlog: 4096 });
