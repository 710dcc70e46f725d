import assert from "node:assert/strict";
import { CommandError } from "../../../../src/cli/dev/command.ts";
import { runLine, STAND_IN_COMMANDS } from "../../../../src/cli/dev/commands.ts";
import { helpLines } from "../../../../src/cli/dev/lines.ts";
import { FORGERIES } from "../../../../src/cli/dev/forge.ts";
import type { StandIn } from "../../../../src/cli/dev/stand_in.ts";
import { ADDRESS, standInFetch } from "../../../../src/net/stand_in.ts";
import { describe, it } from "../../../support/test.ts";
import { call, standInWith } from "./_stand_in.ts";

/** A `fetch` that passes what was forwarded to the stand-in to `answer`, as its server does. */
function forwarded(answer: (request: Request) => Promise<Response>): typeof fetch {
  return ((_url: string, { headers, body }: { readonly headers: Headers; readonly body: BodyInit }) =>
    answer(new Request(headers.get(ADDRESS)!, { method: "POST", headers, body }))) as never;
}

async function runAll(standIn: StandIn, ...lines: string[]): Promise<void> {
  for (const line of lines) await runLine(standIn, line);
}

describe("commands of the stand-in", () => {
  it("install, update and uninstall send their events to the address of events", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 2", "update", "update 7", "uninstall");
    assert.deepEqual(received.map(({ url, form }) => [url, form.get("event"), form.get("data[VERSION]")]), [
      ["http://127.0.0.1:8000/events", "ONAPPINSTALL", "2"],
      ["http://127.0.0.1:8000/events", "ONAPPUPDATE", "3"],
      ["http://127.0.0.1:8000/events", "ONAPPUPDATE", "7"],
      ["http://127.0.0.1:8000/events", "ONAPPUNINSTALL", null],
    ]);
    assert.equal(received[3]!.form.get("data[CLEAN]"), "1");
  });

  it("--wizard sends nothing before finish, and says why", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1 --wizard");
    assert.equal(received.length, 0);
    const [entry] = standIn.transcript.entries();
    assert.ok(entry?.kind === "sent");
    assert.deepEqual([entry.outcome, entry.name, entry.detail], ["withheld", "ONAPPINSTALL", "1"]);
    assert.equal(entry.remark, "the installation is not finished: open, then finish");
    await runAll(standIn, "finish");
    assert.deepEqual(received.map(({ form }) => form.get("event")), ["ONAPPINSTALL"]);
  });

  it("sends no event to an app that is not paid for, and says how to pay", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "payment off", "update 2");
    assert.equal(received.map(({ form }) => form.get("event")).includes("ONAPPUPDATE"), false);
    const entry = standIn.transcript.entries().findLast(({ kind }) => kind === "sent");
    assert.ok(entry?.kind === "sent");
    assert.deepEqual([entry.outcome, entry.remark], ["withheld", "the app is not paid for: payment on"]);
  });

  it("open posts to the address of the page, as an administrator or a user", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install", "open", "open user");
    const [, admin, user] = received;
    for (const { url } of [admin!, user!]) assert.match(url, /^http:\/\/127\.0\.0\.1:8000\/page\?DOMAIN=portal1/);
    const isAdmin = async (token: string): Promise<unknown> => {
      const body = new URLSearchParams({ auth: token });
      const address = "https://portal1.example.com/rest/profile";
      return (await (await standIn.answer(new Request(address, { method: "POST", body }))).json()).result.ADMIN;
    };
    assert.equal(await isAdmin(admin!.form.get("AUTH_ID")!), true);
    assert.equal(await isAdmin(user!.form.get("AUTH_ID")!), false);
  });

  it("duplicate, lose and reorder apply to the next event only", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "duplicate", "update 2", "lose", "update 3", "reorder", "update 4", "update 5");
    assert.deepEqual(received.map(({ form }) => form.get("data[VERSION]")), ["1", "2", "2", "5", "4"]);
    assert.deepEqual(standIn.state().next, {});
  });

  for (const forgery of FORGERIES) {
    it(`forge ${forgery} posts an event and changes nothing`, async () => {
      const { standIn, received } = standInWith();
      await runAll(standIn, "install 1", `forge ${forgery}`);
      const [real, forged] = received.map(({ form }) => form);
      assert.equal(forged!.get("data[VERSION]"), "2");
      assert.equal(standIn.selected().state().version, 1);
      const changed = {
        token: "application_token",
        member: "member_id",
        endpoint: "client_endpoint",
        domain: "domain",
      }[forgery];
      assert.notEqual(forged!.get(`auth[${changed}]`), real!.get(`auth[${changed}]`));
      // Whatever it has as a token, the OAuth host does not know it.
      const response = await call(standIn, received[1]!, "https://oauth.bitrix.info/rest/app.info");
      assert.equal(response.status, 401);
    });
  }

  it("oauth and slow change the answers until they are taken back", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "oauth down");
    const ask = (): Promise<Response> => call(standIn, received[0]!, "https://oauth.bitrix.info/rest/app.info");
    await assert.rejects(ask(), TypeError);
    await runAll(standIn, "oauth", "slow 30");
    assert.deepEqual(standIn.state(), { slowMs: 30, next: {} });
    assert.equal((await ask()).status, 200);
    await runAll(standIn, "slow");
    assert.deepEqual(standIn.state(), { slowMs: 0, next: {} });
  });

  it("payment refuses calls, and event sends any event", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "payment off");
    const profile = (): Promise<Response> => call(standIn, received[0]!, "https://portal1.example.com/rest/profile");
    assert.equal((await (await profile()).json()).error, "PAYMENT_REQUIRED");
    await runAll(standIn, "payment", "event oncrmdealadd FIELDS[ID]=7");
    assert.equal((await profile()).status, 200);
    const last = received.at(-1)!.form;
    assert.deepEqual([last.get("event"), last.get("data[FIELDS][ID]")], ["ONCRMDEALADD", "7"]);
  });

  it("grant and revoke change the scopes of calls and of the next event", async () => {
    const { standIn, received } = standInWith();
    const department = async (): Promise<number> =>
      (await call(standIn, received.at(-1)!, "https://portal1.example.com/rest/calendar.get")).status;
    standIn.selected().answer("calendar.get", () => []);
    await runAll(standIn, "install 1");
    assert.equal(await department(), 403);
    await runAll(standIn, "grant calendar disk", "update 1");
    assert.equal(await department(), 200);
    assert.match(received.at(-1)!.form.get("auth[scope]")!, /,calendar,disk$/);
    await runAll(standIn, "revoke calendar disk");
    assert.equal(await department(), 403);
    const notes = standIn.transcript.entries().flatMap((entry) => entry.kind === "note" ? [entry.text] : []);
    assert.match(notes[0]!, /^portal1\.example\.com grants crm, .*, calendar, disk; the next update or check says so$/);
    assert.match(notes[1]!, /^portal1\.example\.com grants crm, .*userfieldconfig; the next update or check says so$/);
    await assert.rejects(runLine(standIn, "revoke calendar"), /does not grant calendar, it grants crm, /);
    for (const line of ["grant", "revoke"]) await assert.rejects(runLine(standIn, line), /which scopes\?/);
    await assert.rejects(runLine(standIn, "grant crm,disk"), /cannot use scope "crm,disk", .*with spaces between them/);
  });

  it("an app with another client_id is named, at each event that it will refuse", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1");
    const ask = async (clientId?: string): Promise<unknown> => {
      const before = standIn.transcript.entries().length;
      const body = new URLSearchParams({ auth: received[0]!.form.get("auth[access_token]")! });
      const own = (request: Request): Promise<Response> => standIn.answer(request);
      const fetch = standInFetch("http://127.0.0.1:4024", () => true, forwarded(own), clientId);
      await (await fetch("https://oauth.bitrix24.tech/rest/app.info", { method: "POST", body })).body?.cancel();
      return standIn.transcript.entries().slice(before).flatMap((entry) => entry.kind === "note" ? [entry.text] : []);
    };
    assert.deepEqual(await ask("app.dev"), []);
    assert.deepEqual(await ask(), []);
    for (const clientId of ["app.other", "приложение 100%"]) {
      assert.deepEqual(await ask(clientId), [
        `the app has CLIENT_ID ${clientId}, so it refuses what is sent here: set CLIENT_ID=app.dev, ` +
        `or start this with --client-id ${clientId}`,
      ]);
    }
  });

  it("rename redirects the old address; portal adds and selects portals", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "rename", "rename");
    assert.equal(standIn.selected().domain, "portal1-renamed2.example.com");
    const moved = await standIn.answer(new Request("https://portal1.example.com/rest/profile", { redirect: "manual" }));
    assert.equal(moved.status, 302);
    await runAll(standIn, "portal", "install 5", "portal portal1-renamed2.example.com", "update");
    assert.deepEqual(standIn.portals().map(({ domain }) => domain), [
      "portal1-renamed2.example.com",
      "portal2.example.com",
    ]);
    assert.notEqual(received[1]!.form.get("auth[member_id]"), received[0]!.form.get("auth[member_id]"));
    assert.equal(received[2]!.form.get("auth[member_id]"), received[0]!.form.get("auth[member_id]"));
    await assert.rejects(runLine(standIn, "rename portal2.example.com"), CommandError);
  });

  it("replay posts the same body to the same address", async () => {
    const { standIn, received } = standInWith();
    await runAll(standIn, "install 1", "replay 1");
    assert.equal(received[1]!.form.toString(), received[0]!.form.toString());
    const entry = standIn.transcript.entries().at(-1)!;
    assert.ok(entry.kind === "sent");
    assert.equal(entry.remark, "replay of #1");
  });

  it("an app that does not answer, or refuses, is no error: the transcript says so", async () => {
    const { standIn } = standInWith(({ form }) => {
      if (form.get("event") === "ONAPPINSTALL") throw new TypeError("fetch failed: ECONNREFUSED");
      return new Response("not authentic", { status: 403 });
    });
    await runAll(standIn, "install 1", "forge", "replay 1");
    const sent = standIn.transcript.entries().flatMap((entry) => entry.kind === "sent" ? [entry] : []);
    assert.deepEqual(sent.map(({ outcome, status }) => [outcome, status]), [
      ["failed", undefined],
      ["answered", 403],
      ["failed", undefined],
    ]);
    assert.match(sent[0]!.answer!, /is the app running/);
    assert.equal(sent[1]!.answer, "not authentic");
  });

  const mistakes: readonly (readonly [line: string, message: RegExp])[] = [
    ["instal 2", /unknown command "instal", wanted install, /],
    ["install 2.10", /version "2\.10", wanted a whole number/],
    ["install 0", /version "0"/],
    ["install 1 --wizzard", /unknown flag --wizzard, wanted --wizard/],
    ["update", /not installed on portal1\.example\.com, install it first/],
    ["open", /install it first/],
    ["oauth off", /cannot use "off", wanted down, hanging, up/],
    ["slow fast", /cannot use "fast"/],
    ["portal <script>", /cannot use domain "<script>"/],
    ["replay 9", /cannot replay "9"/],
    ["fail", /which error\?/],
  ];
  for (const [line, message] of mistakes) {
    it(`refuses "${line}" and does nothing`, async () => {
      const { standIn, received } = standInWith();
      await assert.rejects(runLine(standIn, line), (error: Error) => {
        assert.ok(error instanceof CommandError);
        assert.match(error.message, message);
        return true;
      });
      assert.equal(received.length, 0);
      assert.equal(standIn.portals().length, 1);
    });
  }

  it("have names, help and keys of their own, in lines under 80 columns", () => {
    const keys = STAND_IN_COMMANDS.flatMap(({ key }) => key ?? []);
    assert.equal(new Set(keys).size, keys.length);
    assert.equal(new Set(STAND_IN_COMMANDS.map(({ name }) => name)).size, STAND_IN_COMMANDS.length);
    for (const line of helpLines()) assert.ok(line.length < 80, line);
    for (const taken of ["q", "?", ":", "o"]) assert.ok(!keys.includes(taken), taken);
  });
});
