import assert from "node:assert/strict";
import { NonRetriableError } from "@b24/onappupdate";
import { MEMBER_ID, rig } from "../../support/app.ts";
import { OPERATOR } from "../../support/operator.ts";
import { it } from "../../support/test.ts";
import { until } from "../../support/until.ts";

/** Ends the test of a worker that keeps timers from firing. */
const MAX = 20_000;

it("a portal that causes its own work for ever keeps no timer from firing", async () => {
  const { app, portal, send } = rig({ acknowledge: "stored" });
  let [parked, isOver] = [0, false];
  app.use({
    name: "impatient",
    observe: {
      portalParked: async () => {
        parked++;
        if (!isOver && parked < MAX) await app.admin.retry(MEMBER_ID, OPERATOR);
      },
    },
  }).upgrade("3", () => {
    throw new NonRetriableError("no");
  });
  await send(portal.install(2));
  await send(portal.update(3));
  await new Promise((resolve) => setTimeout(resolve, 20));
  await until("it is retried", () => parked > 1);
  isOver = true;
  await app.settled();
  assert(parked < MAX, `it was retried ${parked} times`);
  await app.close();
});
