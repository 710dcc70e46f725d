/**
 * Loaded before a snippet: servers of Node listen on any free port instead of the one that they name, and print it.
 * `Deno.serve` has DENO_SERVE_ADDRESS for that, and prints its address itself.
 */
// deno-lint-ignore-file no-console explicit-function-return-type -- JavaScript has none
import { Server } from "node:http";

const { listen } = Server.prototype;
Server.prototype.listen = function (port, ...rest) {
  this.once("listening", () => console.log(`Listening on http://127.0.0.1:${this.address().port}`));
  return listen.call(this, typeof port === "number" ? 0 : { ...port, port: 0 }, ...rest);
};
