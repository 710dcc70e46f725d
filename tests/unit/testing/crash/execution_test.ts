import assert from "node:assert/strict";
import { createApp } from "@b24/onappupdate";
import { execute } from "../../../../src/testing/crash/execution.ts";
import { CLIENT_ID, MEMBER_ID, trustAll } from "../../../support/app.ts";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { test } from "../../../support/test.ts";

test("execute() does not crash in the check if a crash point was not reached", async () => {
  const portal = fakeBitrix24({ clientId: CLIENT_ID }).portal({ memberId: MEMBER_ID });
  const options = {
    app: (environment: object) => createApp({ ...environment, clientId: CLIENT_ID } as never).use(trustAll),
    events: [portal.install(2)],
  };
  const { operations } = await execute(options, [], []);
  const crashes: string[] = [];
  let version: string | undefined;
  await execute(
    {
      ...options,
      check: async (app) => void (version = (await app.portal(portal.memberId))?.version),
    },
    [{ at: operations + 1, when: "before" }],
    crashes,
  );
  assert.deepEqual([version, crashes], ["2.0.0", []]);
});
