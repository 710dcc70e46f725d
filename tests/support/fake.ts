/** Shared by the tests of the fake Bitrix24. */
import assert from "node:assert/strict";
import {
  type FakeBitrix24,
  fakeBitrix24,
  type FakeBitrix24Options,
  type FakePortal,
  type FakePortalOptions,
} from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID } from "./app.ts";

export const CLIENT_SECRET = "secret-of-the-app-0123456789";
export const TECH = "https://oauth.bitrix24.tech";
export const INFO = "https://oauth.bitrix.info";
export const NOW = 1_785_400_000_000;

/** A response whose body was read. */
export interface Answer {
  readonly status: number;
  readonly body: Awaited<ReturnType<Response["json"]>>;
}

export interface FakeSetup {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  /** Calls a method of the portal in JSON, as its administrator unless `params` has `auth`. */
  readonly call: (method: string, params?: object) => Promise<Answer>;
  /** Posts a form. */
  readonly post: (url: string, fields: Readonly<Record<string, string>>) => Promise<Answer>;
  /** Exchanges a refresh token for a new token pair. */
  readonly refresh: (
    refreshToken: string,
    fields?: Readonly<Record<string, string>>,
    host?: string,
  ) => Promise<Answer>;
  now: number;
}

/** Returns a fake Bitrix24 with a fixed clock and one portal, on which version 2 of the app is installed. */
export function fakeSetup(
  options: Partial<FakeBitrix24Options> = {},
  portalOptions: Partial<FakePortalOptions> = {},
): FakeSetup {
  const bitrix24 = fakeBitrix24({
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    clock: () => made.now,
    ...options,
  });
  const portal = bitrix24.portal({ memberId: MEMBER_ID, ...portalOptions });
  const post: FakeSetup["post"] = async (url, fields) =>
    await read(await bitrix24.fetch(url, { method: "POST", body: new URLSearchParams(fields) }));
  const made: FakeSetup = {
    bitrix24,
    portal,
    now: NOW,
    post,
    call: async (method, params = {}) => {
      const body = JSON.stringify({ auth: portal.accessToken(), ...params });
      const headers = { "content-type": "application/json" };
      return await read(
        await bitrix24.fetch(`https://${portal.domain}/rest/${method}`, { method: "POST", headers, body }),
      );
    },
    refresh: (refreshToken, fields = {}, host = TECH) =>
      post(`${host}/oauth/token/`, {
        grant_type: "refresh_token",
        client_id: CLIENT_ID,
        client_secret: CLIENT_SECRET,
        refresh_token: refreshToken,
        ...fields,
      }),
  };
  portal.install(2);
  return made;
}

export async function read(response: Response): Promise<Answer> {
  return { status: response.status, body: await response.json() };
}

/** Asserts that an answer has this status and error code. */
export function assertError(
  { status, body }: Answer,
  wantedStatus: number,
  code: string,
  description?: string,
): void {
  assert.deepEqual([status, body.error], [wantedStatus, code]);
  assert.equal(typeof body.error_description, "string");
  if (description !== undefined) assert.equal(body.error_description, description);
}
