import assert from "node:assert/strict";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, post, recordingLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";
import { simulated, virtualTime } from "../../support/time.ts";

describe('acknowledge: "handled"', () => {
  it("warns if the answer is sent before the work has ended, and names the limit", async () => {
    const time = virtualTime();
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock: time.now });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const { logger, lines } = recordingLogger();
    const portals = rest({
      rate: { burst: 45, perSecond: 2 },
      timer: { now: time.monotonic, sleep: (ms) => new Promise((resolve) => void time.setTimer(resolve, ms)) },
    });
    let calls = 0;
    const app = createApp(
      {
        ...simulated(time),
        ...{ storage: memoryStorage({ clock: time.now }), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger },
        ...{ acknowledge: "handled", checks: false, tickEveryMs: false },
      } as Parameters<typeof createApp>[0],
    ).use(applicationToken()).use(portals)
      .upgrade("3", async ({ b24 }) => {
        for (; calls < 120; calls++) await b24.call("profile");
      });
    const send = async (body: string): Promise<number | undefined> => {
      const answer: { status?: number } = {};
      void app.fetch(post(body)).then(({ status }) => answer.status = status);
      while (answer.status === undefined) await time.elapse(1000);
      return answer.status;
    };
    const warnings = (): unknown[] =>
      lines.map((line) => JSON.parse(line)).filter(({ event }) => event === "request.acknowledge_timeout");

    assert.equal(await send(portal.install(2)), 200);
    assert.deepEqual(warnings(), []);
    assert.equal(await send(portal.update(3)), 200);
    assert(calls < 120, `${calls}`);
    assert.deepEqual(warnings(), [{
      level: "warn",
      message: "request answered before its work ended: limits.acknowledgeMs is over",
      event: "request.acknowledge_timeout",
      memberId: MEMBER_ID,
      acknowledgeMs: 20_000,
      hint: "the work goes on after the answer; in a test, await app.settled(), or raise limits.acknowledgeMs",
    }]);
    while (calls < 120) await time.elapse(10_000);
    await time.elapse(1000);
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    const closed = app.close();
    await time.elapse(10_000);
    await closed;
  });
});
