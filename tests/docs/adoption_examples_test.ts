/** The converters of `examples/adopt_*.ts`, and `examples/09_adopt.ts`, which uses them. */
import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createApp, mapped, type StoredPortal } from "@b24/onappupdate";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { fakeBitrix24, type FakePortal, type FakeServer } from "@b24/onappupdate/testing";
import { fromOAuthStore } from "../../examples/_adopt_b24jssdk.ts";
import { fromAccountRow, fromLocalAppAuth } from "../../examples/_adopt_b24phpsdk.ts";
import { fromCRest } from "../../examples/_adopt_crest.ts";
import { serveStandIn } from "../../src/cli/dev/server.ts";
import { createStandIn } from "../../src/cli/dev/stand_in.ts";
import { CLIENT_ID, MEMBER_ID, OTHER_MEMBER_ID, quietLogger } from "../support/app.ts";
import { run } from "../support/process.ts";
import { after, before, describe, it } from "../support/test.ts";

const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
let server: FakeServer;
let folder: string;

before(async () => {
  server = await bitrix24.serve();
  folder = mkdtempSync(join(tmpdir(), "onappupdate-adoption-"));
});

after(async () => {
  await server.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Returns a portal with version 2, and the fields of `auth` of its ONAPPINSTALL, as PHP's `$_REQUEST['auth']` has them. */
function installed(memberId: string): { readonly portal: FakePortal; readonly auth: Readonly<Record<string, string>> } {
  const portal = bitrix24.portal({ memberId });
  const fields = new URLSearchParams(portal.install(2));
  const auth = [...fields].map(([name, value]) => [/^auth\[(.+)\]$/.exec(name)?.[1], value] as const)
    .filter(([name]) => name !== undefined);
  return { portal, auth: Object.fromEntries(auth) };
}

let runs = 0;

/** Runs `examples/09_adopt.ts` with a file, and resolves to the portal as it is stored then. */
async function adopt(
  store: string,
  content: unknown,
  { flags = [], env = {}, memberId = MEMBER_ID, code = 0 }: {
    readonly flags?: readonly string[];
    readonly env?: Readonly<Record<string, string>>;
    readonly memberId?: string;
    readonly code?: number;
  } = {},
): Promise<{ readonly portal: StoredPortal | undefined; readonly output: string }> {
  const [file, database] = [join(folder, `${++runs}.json`), join(folder, `${runs}.db`)];
  writeFileSync(file, typeof content === "string" ? content : JSON.stringify(content));
  const { exited, output } = run("examples/09_adopt.ts", {
    args: [store, file, ...flags],
    env: { CLIENT_ID, OAUTH_HOST: server.url, DATABASE: database, ...env },
  });
  assert.equal(await exited, code, output());
  assert.doesNotMatch(output(), /acce55|fe5fe5/);
  const app = createApp({ storage: fileStorage({ path: database }), logger: quietLogger });
  const portal = await app.portal(memberId);
  await app.close();
  return { portal, output: output() };
}

describe("examples/_adopt_crest.ts", () => {
  it("takes what ONAPPINSTALL brought, but no application_token", async () => {
    const { auth } = installed(MEMBER_ID);
    assert.deepEqual(fromCRest(auth as never, { version: "2" }), {
      ...{ memberId: MEMBER_ID, accessToken: auth["access_token"], refreshToken: auth["refresh_token"] },
      ...{ expiresAt: Number(auth["expires"]) * 1000, serverEndpoint: auth["server_endpoint"], version: "2" },
    });
    const { portal } = await adopt("crest", { ...auth, expires: Math.floor(Date.now() / 1000) + 3000 });
    assert.deepEqual([portal?.version, portal?.applicationToken], ["2.0.0", undefined]);
  });

  it("takes what the page brought, whose application_token is its APP_SID", async () => {
    const { portal: { tokens, domain } } = installed(MEMBER_ID);
    const { accessToken, refreshToken } = tokens();
    const settings = {
      ...{ access_token: accessToken, expires_in: "3600", application_token: "5e55".repeat(8) },
      ...{ refresh_token: refreshToken, domain, client_endpoint: `https://${domain}/rest/` },
      ...{ C_REST_CLIENT_ID: CLIENT_ID, C_REST_CLIENT_SECRET: "secret-of-the-app" },
    };
    assert.deepEqual(fromCRest(settings), { accessToken, refreshToken });
    const { output } = await adopt("crest", settings, { code: 1 });
    assert.match(output, /^line 1 : invalid: memberId is missing, wanted 32 hexadecimal digits$/m);
    const { portal } = await adopt("crest", settings, { env: { MEMBER_ID, VERSION: "1" } });
    assert.deepEqual([portal?.version, portal?.target, portal?.applicationToken], ["1.0.0", "2.0.0", undefined]);
  });
});

describe("examples/09_adopt.ts", () => {
  it("adopts portals of the stand-in of ONAPPUPDATE_DEV", async () => {
    const standIn = createStandIn({ clientId: CLIENT_ID, events: "http://127.0.0.1:9/", page: "http://127.0.0.1:9/" });
    const { url, close } = await serveStandIn(standIn, { port: 0, host: "127.0.0.1" });
    try {
      const { memberId, install, tokens } = standIn.selected();
      install(2);
      const settings = { access_token: tokens().accessToken, member_id: memberId };
      const { portal } = await adopt("crest", settings, { env: { ONAPPUPDATE_DEV: url }, memberId });
      assert.equal(portal?.version, "2.0.0");
    } finally {
      await close();
    }
  });

  it("names a file that does not exist", async () => {
    const { exited, output } = run("examples/09_adopt.ts", { args: ["jsonl", join(folder, "nowhere.jsonl")] });
    assert.equal(await exited, 2);
    assert.match(output(), /cannot read .*nowhere\.jsonl: there is no such file/);
  });
});

describe("examples/_adopt_b24phpsdk.ts", () => {
  it("takes the file of AppAuthFileStorage", async () => {
    const { portal: { tokens }, auth } = installed(MEMBER_ID);
    const { accessToken, refreshToken, expiresAt } = tokens();
    const expires = Math.floor(expiresAt / 1000);
    const stored = {
      auth_token: { access_token: accessToken, refresh_token: refreshToken, expires },
      ...{ domain_url: "https://example.bitrix24.de", application_token: auth["application_token"]! },
      oauth_server_url: "https://oauth.bitrix.info",
    };
    assert.deepEqual(fromLocalAppAuth(stored, { memberId: MEMBER_ID, version: "1.4" }), {
      ...{ memberId: MEMBER_ID, accessToken, refreshToken, expiresAt: expires * 1000, version: "1.4" },
      ...{ applicationToken: auth["application_token"], serverEndpoint: "https://oauth.bitrix.info" },
    });
    const byPage = { ...stored, auth_token: { ...stored.auth_token, expires: 3600 }, application_token: null };
    const line = fromLocalAppAuth(byPage, { memberId: MEMBER_ID });
    assert.deepEqual([line.expiresAt, line.applicationToken], [undefined, undefined]);
    for (const [content, hasToken] of [[stored, true], [byPage, false]] as const) {
      const { portal } = await adopt("b24phpsdk", content, { env: { MEMBER_ID } });
      assert.deepEqual([portal?.version, portal?.applicationToken !== undefined], ["2.0.0", hasToken]);
    }
  });

  it("takes rows of accounts, with VERSION by the scheme of the app", async () => {
    const { portal: { tokens } } = installed(MEMBER_ID);
    const { accessToken, refreshToken, expiresAt } = tokens();
    const row = {
      ...{ id: "0193", member_id: MEMBER_ID, status: "active", b24_user_id: 1, is_b24_user_admin: true } as const,
      ...{ application_version: 2, application_token: null, domain_url: "https://example.bitrix24.de" },
      ...{ authtoken_access_token: accessToken, authtoken_refresh_token: refreshToken },
      ...{ authtoken_expires: Math.floor(expiresAt / 1000), authtoken_expires_in: 3600 },
    };
    const [line, ...rest] = fromAccountRow(row, mapped({ 2: "1.4.0" }).parse);
    assert.deepEqual([line?.memberId, line?.version, line?.accessToken, rest], [MEMBER_ID, "1.4.0", accessToken, []]);
    assert.deepEqual(fromAccountRow({ ...row, status: "deleted" }), []);
    const { portal } = await adopt("jsonl", fromAccountRow(row).map((line) => JSON.stringify(line)).join("\n"));
    assert.equal(portal?.version, "2.0.0");
  });
});

describe("examples/_adopt_b24jssdk.ts", () => {
  it("takes the store of the recipe", async () => {
    const [first, second] = [installed(MEMBER_ID), installed(OTHER_MEMBER_ID)];
    const store = Object.fromEntries([first, second].map(({ portal, auth }) => {
      const { accessToken, refreshToken, expiresAt } = portal.tokens();
      const params = {
        ...{ applicationToken: auth["application_token"]!, userId: 1, memberId: portal.memberId, accessToken },
        ...{ refreshToken, expires: Math.floor(expiresAt / 1000), expiresIn: 3600, scope: "crm", status: "F" },
        ...{ domain: portal.domain, clientEndpoint: `https://${portal.domain}/rest/` },
        serverEndpoint: "https://oauth.bitrix.info/rest/",
      };
      return [portal.memberId, params];
    }));
    const [line] = [...fromOAuthStore(store, (memberId) => memberId === MEMBER_ID ? { version: "1" } : {})];
    const { accessToken, refreshToken, expires, applicationToken, serverEndpoint } = store[MEMBER_ID]!;
    assert.deepEqual(line, {
      ...{ memberId: MEMBER_ID, accessToken, refreshToken, expiresAt: expires * 1000, applicationToken },
      ...{ serverEndpoint, version: "1" },
    });
    const dry = await adopt("b24jssdk", store, { flags: ["--dry-run"] });
    assert.equal(dry.portal, undefined);
    assert.match(dry.output, /"adopted":2/);
    const { portal } = await adopt("b24jssdk", store, { memberId: OTHER_MEMBER_ID });
    assert.deepEqual([portal?.version, portal?.applicationToken !== undefined], ["2.0.0", true]);
  });
});

describe("examples/09_adopt.ts", () => {
  it("says how it is called", async () => {
    const { output } = await adopt("mysql", {}, { code: 2 });
    assert.match(output, /usage: adopt\.ts jsonl\|crest\|b24phpsdk\|b24jssdk FILE/);
  });
});
