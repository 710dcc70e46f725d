/** Notifications to a real HTTP server. */
import assert from "node:assert/strict";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { type App, memoryStorage, NonRetriableError } from "@b24/onappupdate";
import { notifications, webhookChannel } from "@b24/onappupdate/notifications";
import { OPERATOR } from "../../support/operator.ts";
import { codeAt, memberIds, storeInstalled, tickOut } from "../../support/rollout.ts";
import { describe, it } from "../../support/test.ts";

const SECRET = `whsec_${btoa("0123456789abcdef0123456789abcdef")}`;
const MINUTE = 60_000;

interface Receiver {
  readonly url: string;
  /** The received requests, in order. */
  readonly received: { readonly id: string; readonly data: { readonly status: string; readonly title: string } }[];
  /** Status of the answers. */
  status: number;
  /** Refuses connections, until it listens again. */
  readonly stop: () => Promise<void>;
  readonly listen: () => Promise<void>;
}

async function receiver(): Promise<Receiver> {
  let server: Server;
  let port = 0;
  const listen = async (): Promise<void> => {
    server = createServer(async (request, response) => {
      let body = "";
      for await (const chunk of request.setEncoding("utf8")) body += chunk;
      response.writeHead(made.status, { connection: "close", "retry-after": "120" }).end();
      if (made.status !== 200) return;
      // Its clock is not that of the app, so it cannot verify the signature.
      const { data } = JSON.parse(body) as Receiver["received"][number];
      made.received.push({ id: request.headers["webhook-id"] as string, data });
    });
    await new Promise<void>((resolve) => server.listen(port, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  };
  await listen();
  const made: Receiver = {
    ...{ url: `http://127.0.0.1:${port}/hook`, received: [], status: 200, listen },
    stop: () => new Promise((resolve) => void server.close(() => resolve())),
  };
  return made;
}

/** Returns an app whose upgrade parks its portals, and a function that lets time pass with ticks. */
async function release(url: string, reasonOf: (memberId: string) => string): Promise<{
  readonly app: App;
  readonly elapse: (ms: number) => Promise<void>;
  /** The upgrade succeeds from now on. */
  readonly fix: () => void;
}> {
  const storage = memoryStorage();
  await storeInstalled(storage, memberIds(40), "1.0.0");
  let now = Date.now();
  let isBroken = true;
  const { app } = codeAt("2.0.0", {
    ...{ storage, clock: () => now, plugins: [notifications({ channels: [webhookChannel({ url, secret: SECRET })] })] },
    upgrade: (memberId) => {
      if (isBroken) throw new NonRetriableError(reasonOf(memberId));
    },
  });
  return {
    app,
    fix: () => void (isBroken = false),
    elapse: async (ms) => {
      for (const end = now + ms; now < end;) {
        now += MINUTE / 2;
        await tickOut(app);
      }
    },
  };
}

describe("notifications by HTTP", () => {
  it("40 portals that are parked for one reason are one request, and one more when none is", async () => {
    const hook = await receiver();
    const { app, elapse, fix } = await release(hook.url, () => "no such list");
    await elapse(30 * MINUTE);
    const titles = (): string[] => hook.received.map(({ data: { status, title } }) => `${status} ${title}`);
    assert.deepEqual(titles(), ["firing 40 portals are parked in upgrade 2.0.0"]);
    fix();
    await app.admin.batches.start({ action: "retry", match: { status: "parked" }, expect: 40, ...OPERATOR });
    await elapse(30 * MINUTE);
    assert.deepEqual(titles().slice(1), ["resolved 40 portals are no longer parked in upgrade 2.0.0"]);
    assert.equal(new Set(hook.received.map(({ id }) => id)).size, 2);
    await app.close();
    await hook.stop();
  });

  for (const [how, fail] of [["refuses connections", "stop"], ["answers 503", 503], ["answers 429", 429]] as const) {
    it(`a server that ${how} for ten minutes gets all of them, each once`, async () => {
      const hook = await receiver();
      const { app, elapse } = await release(
        hook.url,
        (memberId) => `problem ${"abcd"[Number(`0x${memberId[0]}`) % 4]}`,
      );
      if (fail === "stop") await hook.stop();
      else hook.status = fail;
      await elapse(10 * MINUTE);
      assert.equal(hook.received.length, 0);
      assert((await app.admin.outbox.list({ state: "waiting" })).items.every(({ attempts, error }) => {
        return (fail === 429 ? attempts === 0 : attempts > 3) && error !== undefined && !error.includes("127.0.0.1");
      }));
      if (fail === "stop") await hook.listen();
      hook.status = 200;
      await elapse(15 * MINUTE);
      const groups = new Set(memberIds(40).map((id) => Number(`0x${id[0]}`) % 4));
      assert.equal(hook.received.length, groups.size);
      assert.equal(new Set(hook.received.map(({ id }) => id)).size, groups.size);
      const waiting = (await app.admin.outbox.list({ state: "waiting" })).items;
      assert.deepEqual([waiting, (await app.admin.outbox.list({ state: "dead" })).items], [[], []]);
      await app.close();
      await hook.stop();
    });
  }
});
