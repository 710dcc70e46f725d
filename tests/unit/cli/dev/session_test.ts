import assert from "node:assert/strict";
import { runSession, type SessionInput } from "../../../../src/cli/dev/session.ts";
import type { StandIn } from "../../../../src/cli/dev/stand_in.ts";
import type { Output } from "../../../../src/cli/terminal.ts";
import { describe, test, waitFor } from "../../../support/test.ts";
import { until } from "../../../support/until.ts";
import { type Received, standInWith } from "./_stand_in.ts";

const quiet: Output = { write: () => {}, isTerminal: false, hasColor: false, columns: 80 };

/** Runs a session whose pipe has all of `text` at once, until it ends. */
async function pipe(standIn: StandIn, text: string, patienceMs?: number): Promise<void> {
  const input: SessionInput = {
    setEncoding: () => {},
    on: (_event, listener) => listener(text),
    off: () => {},
    pause: () => {},
  };
  const terminal = { stdout: quiet, stderr: quiet, interrupted: () => new AbortController().signal };
  const session = runSession({ standIn, terminal, input, json: true, ...(patienceMs !== undefined && { patienceMs }) });
  await waitFor("the end of the session", session);
}

const sent = ({ form }: Received): string => `${form.get("event")} ${form.get("auth[domain]")}`;

describe("a session in a pipe", () => {
  test("quit ends it after the commands before it", async () => {
    const { standIn, received } = standInWith();
    await pipe(standIn, "install 1\nupdate\nquit\n");
    assert.deepEqual(received.map(({ form }) => form.get("event")), ["ONAPPINSTALL", "ONAPPUPDATE"]);
  });

  test("each command runs after the one before it", async () => {
    const { standIn, received } = standInWith();
    const first = standIn.selected().domain;
    await pipe(standIn, "install 1\nduplicate\nupdate\nportal b.example.com\ninstall 1\noauth down\nquit\n");
    assert.deepEqual(received.map(sent), [
      ...[`ONAPPINSTALL ${first}`, `ONAPPUPDATE ${first}`, `ONAPPUPDATE ${first}`, "ONAPPINSTALL b.example.com"],
    ]);
  });

  test("an outage ends although an app waits for its end", async () => {
    const { standIn, received } = standInWith(async () => {
      await until("the OAuth hosts", () => standIn.state().outage === undefined);
      return new Response("ok");
    });
    await pipe(standIn, "oauth down\ninstall 1\noauth up\nupdate\nquit\n", 20);
    assert.deepEqual(received.map(({ form }) => form.get("event")), ["ONAPPINSTALL", "ONAPPUPDATE"]);
  });
});
