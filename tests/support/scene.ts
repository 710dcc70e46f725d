/** An app with applicationToken(), an OAuth host with answers that a test can replace, and access to the storage. */
import assert from "node:assert/strict";
import { inspect } from "node:util";
import { type AppOptions, memoryStorage, type Storage } from "@b24/onappupdate";
import type { ApplicationTokenOptions } from "@b24/onappupdate/application-token";
import { CLIENT_ID, MEMBER_ID, type Rig, rig } from "./app.ts";

export const HOSTS = ["https://oauth.bitrix24.tech", "https://oauth.bitrix.info"] as const;

/** One request to an OAuth host. */
export interface Asked {
  readonly url: string;
  readonly method: string;
  readonly auth: string | null;
  readonly redirect: string;
}

export type Answer = (request: Request) => Response | Promise<Response>;

export interface Scene extends Rig {
  readonly storage: Storage;
  /** Requests that the OAuth hosts received. */
  readonly asked: Asked[];
  /** Replaces the answers of the hosts from now on; undefined for their own. */
  answer: Answer | undefined;
  /** Time (Unix ms) of the app. */
  now: number;
  /** Returns all stored keys and values, but for totals. */
  readonly stored: () => Promise<unknown[]>;
  /** Clears the recorded requests, log lines and reports. */
  readonly forget: () => void;
}

export function scene(token: ApplicationTokenOptions = {}, options: Partial<AppOptions> = {}): Scene {
  const storage = options.storage ?? memoryStorage();
  const asked: Asked[] = [];
  const app = rig({
    storage,
    clock: () => made.now,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      const { url, method, redirect } = request;
      // Requests to the portal itself are not for the OAuth hosts.
      if (/\/rest\/profile$/.test(url)) return await app.bitrix24.fetch(request);
      const auth = new URLSearchParams(await request.clone().text()).get("auth");
      asked.push({ url, method, auth, redirect });
      return await (made.answer ?? app.bitrix24.fetch)(request);
    },
    ...options,
  }, token);
  const made: Scene = {
    ...app,
    storage,
    asked,
    answer: undefined,
    now: Date.UTC(2027, 0, 1),
    stored: async () => {
      const all: unknown[] = [];
      // Totals are added within a second, and the start stores whose storage it is.
      for await (const { key, value } of storage.list([])) {
        if (key[0] !== "total" && key[0] !== "app") all.push([key, value]);
      }
      return all;
    },
    forget: () => {
      for (const list of [asked, app.lines, app.reports]) list.length = 0;
    },
  };
  return made;
}

/** Returns the answer of `app.info` for a portal, with `install` and `result` replacing fields. */
export function appInfo(
  install: Readonly<Record<string, unknown>> = {},
  result: Readonly<Record<string, unknown>> = {},
): object {
  return {
    result: {
      client_id: CLIENT_ID,
      scope: "crm",
      expires: 1785303600,
      user_id: 1,
      install: {
        installed: true,
        version: 3,
        status: "S",
        domain: "https://example.bitrix24.de",
        client_endpoint: "https://example.bitrix24.de/rest/",
        member_id: MEMBER_ID,
        ...install,
      },
      ...result,
    },
  };
}

/** Returns the body with fields replaced, or removed if undefined. Names are as on the wire, such as `auth[domain]`. */
export function changed(body: string, fields: Readonly<Record<string, string | undefined>>): string {
  const form = new URLSearchParams(body);
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) form.delete(name);
    else form.set(name, value);
  }
  return form.toString();
}

/** Removes the OAuth tokens from an event. */
export const TOKENLESS = {
  "auth[access_token]": undefined,
  "auth[refresh_token]": undefined,
  "auth[expires]": undefined,
  "auth[expires_in]": undefined,
} as const;

/** An application_token that no portal has. */
export const UNKNOWN_APPLICATION_TOKEN = { "auth[application_token]": "f".repeat(32) };
/** Installs version 2 on the portal and returns the body of the event. */
export async function installPortal(made: Scene): Promise<string> {
  const install = made.portal.install(2);
  assert.equal(await made.send(install), 200);
  made.forget();
  return install;
}

/**
 * Asserts that an event is answered with this status and has no effect. 403: it is refused, and reported and logged once.
 * 503: it waits for its verification, and nothing else is stored.
 */
export async function assertRefused(made: Scene, body: string, status: 403 | 503): Promise<void> {
  const storedOthers = async () =>
    (await made.stored()).filter((entry) => !(/^unverified/.test((entry as [string[]])[0][0]!) && status === 503));
  const before = await storedOthers();
  made.reports.length = made.lines.length = 0;
  assert.equal(await made.send(body), status);
  assert.deepEqual(await storedOthers(), before);
  const refusals = made.lines.map((line) => JSON.parse(line)).filter(({ message }) =>
    message === "request refused" || message === "event refused"
  );
  if (status === 503) {
    assert.deepEqual([made.reports, refusals], [[], []]);
    return;
  }
  const [report, ...others] = made.reports;
  assert(report?.name === "eventRejected" && others.length === 0, inspect(made.reports));
  assert.deepEqual([report.status, report.error.name], [403, "NotAuthenticError"]);
  assert.equal((report.error as { code?: string }).code, "not_authentic");
  assert.deepEqual(refusals.map((line) => [line.level, line.status, line.err.name]), [[
    "info",
    403,
    "NotAuthenticError",
  ]]);
}

/** Returns a storage whose first `count` reads all wait for the last of them, so that concurrent events read the same. */
export function simultaneousReads(count: number): Storage {
  const storage = memoryStorage();
  const allRead = Promise.withResolvers<void>();
  let readers = 0;
  return {
    ...storage,
    get: async (key, ...rest) => {
      if (key[0] === "portal") {
        if (++readers === count) allRead.resolve();
        await allRead.promise;
      }
      return await storage.get(key, ...rest);
    },
  };
}
