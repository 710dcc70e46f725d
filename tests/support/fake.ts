/** What tests of the fake Bitrix24 share. */
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

/** An answer, read. */
export interface Answered {
  readonly status: number;
  readonly body: Awaited<ReturnType<Response["json"]>>;
}

export interface Town {
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  /** Calls a method of the portal in JSON, as its administrator unless `auth` is given. */
  readonly call: (method: string, params?: object) => Promise<Answered>;
  /** Posts a form. */
  readonly post: (url: string, fields: Readonly<Record<string, string>>) => Promise<Answered>;
  /** Gives a refresh token for a new pair. */
  readonly refresh: (
    refreshToken: string,
    fields?: Readonly<Record<string, string>>,
    host?: string,
  ) => Promise<Answered>;
  now: number;
}

/** A fake Bitrix24 by a clock that stands still, with one portal that has the app at version 2. */
export function town(options: Partial<FakeBitrix24Options> = {}, portalOptions: Partial<FakePortalOptions> = {}): Town {
  const bitrix24 = fakeBitrix24({
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    clock: () => made.now,
    ...options,
  });
  const portal = bitrix24.portal({ memberId: MEMBER_ID, ...portalOptions });
  const post: Town["post"] = async (url, fields) =>
    await read(await bitrix24.fetch(url, { method: "POST", body: new URLSearchParams(fields) }));
  const made: Town = {
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

export async function read(response: Response): Promise<Answered> {
  return { status: response.status, body: await response.json() };
}

/** Asserts that an answer is an error. */
export function assertError(
  { status, body }: Answered,
  wantedStatus: number,
  code: string,
  description?: string,
): void {
  assert.deepEqual([status, body.error], [wantedStatus, code]);
  assert.equal(typeof body.error_description, "string");
  if (description !== undefined) assert.equal(body.error_description, description);
}
