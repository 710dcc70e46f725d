import assert from "node:assert/strict";
import { sendCommand, startRedis } from "../../scripts/redis_server.ts";
import { test } from "../support/test.ts";

test("sendCommand() waits while other work blocks the event loop for longer than a connection may take by default", async () => {
  const server = await startRedis();
  try {
    const reply = sendCommand(server.port, "PING");
    setTimeout(() => {
      const end = performance.now() + 11_000;
      while (performance.now() < end);
    }, 0);
    assert.equal(await reply, "PONG");
  } finally {
    await server.remove();
  }
});
