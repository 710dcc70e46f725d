/** A small server in a process of its own, for the tests that send it signals. */
import { serve } from "@b24/onappupdate/node-server";
import process from "node:process";

let answer: () => void = () => {};
const mayAnswer = new Promise<void>((resolve) => answer = resolve);

await serve({
  fetch: async () => {
    say("request");
    await mayAnswer;
    return new Response("finished");
  },
  close: () => {
    say("app closed");
    return Promise.resolve();
  },
}, { port: 0, onListen: ({ url }) => say(url) });

process.stdin.once("data", () => {
  process.stdin.pause();
  answer();
});

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}
