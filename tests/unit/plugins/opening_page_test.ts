import assert from "node:assert/strict";
import {
  type App,
  B24Error,
  createApp,
  memoryStorage,
  type Opening,
  type RetryPolicy,
  type UpgradeContext,
} from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { openingPage, type OpeningPageOptions } from "@b24/onappupdate/opening-page";
import { type FakeBitrix24, fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { backgroundWork, CLIENT_ID, MEMBER_ID, post, recordingLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const SECRETS = /acce55|fe5fe5|5e55|a99[0-9a-f]{5}|a223c6b3710f85df22e9377d6c4f7553|example\.bitrix24/;

/** Nonces and tickets are random, and may contain what looks like a part of a secret. */
function withoutUuids(text: string): string {
  return text.replaceAll(/[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}/g, "");
}

interface Setup {
  readonly app: App;
  readonly bitrix24: FakeBitrix24;
  readonly portal: FakePortal;
  readonly lines: string[];
  readonly page: (request: Request) => Promise<Response>;
  /** Installs version 2 on the portal, and waits for the work of its event. */
  readonly install: () => Promise<void>;
  readonly settled: () => Promise<void>;
}

function setUp(
  options: Partial<OpeningPageOptions> & {
    readonly retry?: RetryPolicy;
    readonly install?: () => void | Promise<void>;
    readonly upgrade?: (ctx: UpgradeContext) => void | Promise<void>;
  } = {},
): Setup {
  const { retry = {}, install = () => {}, upgrade = () => {}, ...others } = options;
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
  const { logger, lines } = recordingLogger();
  const { platform, settled } = backgroundWork();
  const app = createApp({
    ...{ storage: memoryStorage(), clientId: CLIENT_ID, fetch: bitrix24.fetch, logger, retry },
    ...{ checks: false, tickEveryMs: false },
  }).use(applicationToken()).on("ONAPPINSTALL", install).upgrade("3", upgrade);
  const handler = openingPage({ app, page: (_request, { portal }) => new Response(`on ${portal.version}`), ...others });
  const portal = bitrix24.portal({ memberId: MEMBER_ID });
  return {
    ...{ app, bitrix24, portal, lines, settled },
    page: (request) => handler(request, platform),
    install: async () => {
      assert.equal((await app.fetch(post(portal.install(2)), platform)).status, 200);
      await settled();
    },
  };
}

/** The data that the waiting page passes to its script. */
interface PageData {
  readonly ticket: string;
  readonly view: {
    readonly state: string;
    readonly status: string;
    readonly message?: string;
    readonly finishes: boolean;
  };
}

function dataOf(html: string): PageData {
  const [, data] = /data-page="([^"]*)"/.exec(html) ?? [];
  assert(data !== undefined, html);
  const text = data.replaceAll("&quot;", '"').replaceAll("&#39;", "'").replaceAll("&lt;", "<").replaceAll("&amp;", "&");
  return JSON.parse(text);
}

/** Asks as the script of the page does. */
async function ask(made: Setup, body: unknown): Promise<{ readonly status: number; readonly body: unknown }> {
  const response = await made.page(post(typeof body === "string" ? body : JSON.stringify(body), "application/json"));
  assert.equal(response.headers.get("cache-control"), "no-store");
  return { status: response.status, body: await response.json() };
}

/** A browser with just what the script of the page uses. */
interface Browser {
  readonly shown: Readonly<Record<"status" | "progress" | "message" | "retry", Record<string, unknown>>>;
  readonly calls: string[];
  readonly asked: URL[];
  /** Runs the timer that the script has set. */
  readonly later: () => Promise<void>;
  /** Number of timers that have not run. */
  readonly waiting: () => number;
  readonly click: () => void;
}

/** Runs the script of a waiting page. `library`: the page has loaded Bitrix24's script, inside of Bitrix24's frame. */
function browse(made: Setup, html: string, address: string, { library = true } = {}): Browser {
  const [, script] = /<script nonce="[^"]+">([\s\S]*?)<\/script>/.exec(html)!;
  const calls: string[] = [];
  const asked: URL[] = [];
  const timers = new Map<number, () => Promise<void>>();
  let click: () => void;
  const element = (): Record<string, unknown> => ({
    textContent: "",
    hidden: true,
    removeAttribute(name: string): void {
      delete this[name];
    },
    addEventListener: (_name: string, listener: () => void) => click = listener,
  });
  const shown = { status: element(), progress: element(), message: element(), retry: element() };
  const page = { dataset: { page: JSON.stringify(dataOf(html)) } };
  const document = {
    readyState: "complete",
    getElementById: (id: string) => id === "data" ? page : shown[id as keyof typeof shown],
  };
  const fetch = (url: URL, init: RequestInit): Promise<Response> => {
    asked.push(url);
    return made.page(new Request(url, init));
  };
  const BX24 = !library ? null : {
    init: (then: () => void) => then(),
    installFinish: () => calls.push("installFinish"),
    reloadWindow: () => calls.push("reloadWindow"),
  };
  let lastTimer = 0;
  const setTimeout = (run: (...values: unknown[]) => Promise<void>, _ms: number, ...values: unknown[]): number => {
    timers.set(++lastTimer, () => run(...values));
    return lastTimer;
  };
  const clearTimeout = (timer: number): void => void timers.delete(timer);
  const parameters = { document, fetch, BX24, setTimeout, clearTimeout, location: { href: address } };
  new Function(...Object.keys(parameters), script!)(...Object.values(parameters));
  return {
    shown,
    calls,
    asked,
    later: async () => {
      const [[timer, run] = []] = timers;
      timers.delete(timer!);
      await run?.();
    },
    waiting: () => timers.size,
    click: () => click(),
  };
}

/** Lets the script ask until it has called `BX24`. */
async function untilCalled(browser: Browser): Promise<void> {
  while (browser.calls.length === 0) {
    await new Promise((next) => setTimeout(next, 2));
    await browser.later();
  }
}

describe("openingPage()", () => {
  it("hands over to the page of the app, with a request whose body is unread", async () => {
    const openings: Opening[] = [];
    const made = setUp({
      page: async (request, opening) => {
        openings.push(opening);
        const form = new URLSearchParams(await request.text());
        return new Response(`hello ${form.get("PLACEMENT")}`, { headers: { "x-own": "1" } });
      },
    });
    await made.install();
    const response = await made.page(made.portal.open({ placement: "CRM_DEAL_DETAIL_TAB" }));
    assert.deepEqual([response.status, response.headers.get("x-own")], [200, "1"]);
    assert.equal(await response.text(), "hello CRM_DEAL_DETAIL_TAB");
    assert.deepEqual(openings.map(({ userId, isAdmin, ticket }) => [userId, isAdmin, ticket]), [[1, true, undefined]]);
    await made.app.close();
  });

  it("shows the progress of an upgrade, then reloads the app", async () => {
    const gate = Promise.withResolvers<void>();
    const made = setUp({
      upgrade: async ({ progress }) => {
        await progress(1, 4, "half of it");
        await gate.promise;
      },
    });
    await made.install();
    await made.page(made.portal.open());
    made.portal.update(3);
    const request = made.portal.open({ userId: 7, url: "https://app.example.com/page?own=1" });
    const response = await made.page(request);
    const html = await response.text();
    assert.equal(response.status, 200);
    assert.match(html, /<html lang="en">/);
    assert.match(html, /<p role="status" id="status">The app is being updated…<\/p>/);
    assert.match(html, /<progress id="progress" aria-label="Progress">/);
    assert.match(html, /<script async src="https:\/\/api\.bitrix24\.com\/api\/v1\/"><\/script>/);
    assert.doesNotMatch(withoutUuids(html), SECRETS);
    const browser = browse(made, html, request.url);
    while (browser.shown.progress["value"] === undefined) {
      await new Promise((next) => setTimeout(next, 2));
      await browser.later();
    }
    assert.deepEqual([browser.shown.progress["value"], browser.shown.progress["max"]], [1, 4]);
    // The note is for administrators.
    assert.equal(browser.shown.message["textContent"], "");
    gate.resolve();
    await untilCalled(browser);
    assert.deepEqual(browser.calls, ["reloadWindow"]);
    for (const url of browser.asked) assert.equal(url.href, "https://app.example.com/page?own=1");
    await made.settled();
    assert.equal(await (await made.page(made.portal.open())).text(), "on 3.0.0");
    await made.app.close();
  });

  it("calls installFinish once the handlers of ONAPPINSTALL have succeeded, and not before", async () => {
    const gate = Promise.withResolvers<void>();
    const made = setUp({ install: () => gate.promise });
    made.portal.install(2, { wizard: true });
    const request = made.portal.open();
    const html = await (await made.page(request)).text();
    assert.match(html, /The app is being installed…/);
    assert.deepEqual([dataOf(html).view.state, dataOf(html).view.finishes], ["waiting", true]);
    const browser = browse(made, html, request.url);
    for (let i = 0; i < 3; i++) await browser.later();
    assert.deepEqual(browser.calls, []);
    gate.resolve();
    await untilCalled(browser);
    assert.deepEqual(browser.calls, ["installFinish"]);
    made.portal.installFinish();
    assert.equal(await (await made.page(made.portal.open())).text(), "on 2.0.0");
    await made.app.close();
  });

  for (const library of [false, true]) {
    const what = library ? "does nothing" : "is missing";
    it(`asks the user to reload the page if Bitrix24's script ${what}`, async () => {
      const made = setUp();
      made.portal.install(2, { wizard: true });
      const request = made.portal.open();
      const html = await (await made.page(request)).text();
      const browser = browse(made, html, request.url, { library });
      await made.settled();
      while (browser.shown.status["textContent"] !== "Done. Please reload the page.") {
        await new Promise((next) => setTimeout(next, 2));
        await browser.later();
      }
      assert.deepEqual(browser.calls, library ? ["installFinish"] : []);
      await made.app.close();
    });
  }

  it("shows a parked installation, and lets administrators retry it", async () => {
    let isBroken = true;
    const made = setUp({
      retry: { maxAttempts: 1 },
      install: () => {
        if (isBroken) throw new Error("no <room>");
      },
    });
    made.portal.install(2, { wizard: true });
    await made.page(made.portal.open());
    await made.settled();
    const request = made.portal.open();
    const html = await (await made.page(request)).text();
    assert.match(html, /The app could not be set up/);
    assert.match(html, /<p id="message">no &lt;room&gt;<\/p>/);
    const browser = browse(made, html, request.url);
    assert.equal(browser.shown.retry["hidden"], false);
    isBroken = false;
    browser.click();
    assert.equal(browser.waiting(), 0, "the question of the user is the only one");
    await untilCalled(browser);
    while (browser.waiting() > 0) await browser.later();
    assert.deepEqual(browser.calls, ["installFinish"]);
    await made.app.close();
  });

  it("stays as it is if an administrator retries while a rollback is not finished", async () => {
    const made = setUp({
      upgrade: async ({ step }) => {
        await step("convert", () => 1, { undo: () => Promise.reject(new Error("the portal is down")) });
      },
    });
    await made.install();
    assert.equal((await made.page(made.portal.open())).status, 200);
    made.portal.update(3);
    await made.page(made.portal.open());
    await made.settled();
    await assert.rejects(made.app.admin.rollback(MEMBER_ID, { by: "ada", reason: "ticket 17" }), /the portal is down/);
    const { ticket } = dataOf(await (await made.page(made.portal.open())).text());
    const { status, body } = await ask(made, { ticket, retry: true });
    assert.deepEqual([status, (body as { state: string }).state], [200, "stuck"]);
    await made.app.close();
  });

  it("finishes a parked installation with finishWhenParked", async () => {
    const made = setUp({
      finishWhenParked: true,
      retry: { maxAttempts: 1 },
      install: () => {
        throw new Error("no");
      },
    });
    made.portal.install(2, { wizard: true });
    const request = made.portal.open();
    const html = await (await made.page(request)).text();
    await made.settled();
    const browser = browse(made, html, request.url);
    await untilCalled(browser);
    assert.deepEqual(browser.calls, ["installFinish"]);
    await made.app.close();
  });

  for (const blocked of [false, true]) {
    it(`shows ${blocked ? "a blocked" : "a parked"} portal, and opens the app with openWhenStuck`, async () => {
      const seen: string[] = [];
      const page: OpeningPageOptions["page"] = (_request, { portal, upgrade }) => {
        seen.push(upgrade.state);
        return new Response(`on ${portal.version}`);
      };
      const upgrade = (): void => {
        throw blocked
          ? new B24Error({ code: "PAYMENT_REQUIRED", description: "no", status: 401, method: "crm.deal.list" })
          : new Error("no");
      };
      for (const openWhenStuck of [false, true]) {
        const made = setUp({ openWhenStuck, page, upgrade, retry: { maxAttempts: 1 } });
        await made.install();
        assert.equal(await (await made.page(made.portal.open())).text(), "on 2.0.0");
        seen.length = 0;
        made.portal.update(3);
        const request = made.portal.open();
        const waiting = await (await made.page(request)).text();
        const browser = browse(made, waiting, request.url);
        await made.settled();
        await browser.later();
        assert.deepEqual(browser.calls, openWhenStuck ? ["reloadWindow"] : []);
        const html = await (await made.page(made.portal.open())).text();
        if (openWhenStuck) assert.equal(html, "on 2.0.0");
        else assert.match(html, blocked ? /is waiting for something/ : /could not be set up/);
        assert.deepEqual(seen, openWhenStuck ? [blocked ? "blocked" : "parked"] : []);
        await made.app.close();
      }
    });
  }

  for (const finishWhenParked of [false, true]) {
    const finishes = finishWhenParked ? "and finishes it with finishWhenParked" : "and leaves it unfinished";
    it(`opens a parked update of an app with a wizard with openWhenStuck, ${finishes}`, async () => {
      const seen: Opening["upgrade"][] = [];
      const made = setUp({
        ...{ openWhenStuck: true, finishWhenParked, retry: { maxAttempts: 1 } },
        page: (_request, { portal, upgrade }) => {
          seen.push(upgrade);
          return new Response(`on ${portal.version}`);
        },
        upgrade: () => {
          throw new Error("no");
        },
      });
      await made.install();
      assert.equal(await (await made.page(made.portal.open())).text(), "on 2.0.0");
      made.portal.update(3, { wizard: true });
      const request = made.portal.open();
      const html = await (await made.page(request)).text();
      await made.settled();
      const browser = browse(made, html, request.url);
      await untilCalled(browser);
      assert.deepEqual(browser.calls, [finishWhenParked ? "installFinish" : "reloadWindow"]);
      const opened = await (await made.page(made.portal.open())).text();
      if (finishWhenParked) assert.equal(dataOf(opened).view.finishes, true);
      else assert.equal(opened, "on 2.0.0");
      assert.deepEqual(seen.slice(1), finishWhenParked ? [] : [{ state: "parked", message: "no", isUpdate: true }]);
      // Only administrators: for others, the installation is not finished.
      const others = await (await made.page(made.portal.open({ userId: 7 }))).text();
      assert.equal(dataOf(others).view.state, "stuck");
      await made.app.close();
    });
  }

  it("does not open a parked installation with openWhenStuck", async () => {
    const made = setUp({
      ...{ openWhenStuck: true, retry: { maxAttempts: 1 } },
      install: () => {
        throw new Error("no");
      },
    });
    made.portal.install(2, { wizard: true });
    await made.page(made.portal.open());
    await made.settled();
    const { view } = dataOf(await (await made.page(made.portal.open())).text());
    assert.equal(view.state, "stuck");
    await made.app.close();
  });

  it("clones no request and uses no signal of one, of which Deno warns", async () => {
    const made = setUp({ page: async (request) => new Response(await request.text()) });
    await made.install();
    await made.page(made.portal.open());
    const request = made.portal.open();
    const body = await request.clone().text();
    const fail = (): never => assert.fail("the request is cloned");
    Object.defineProperties(request, { clone: { value: fail }, signal: { get: fail } });
    assert.equal(await (await made.page(request)).text(), body);
    await made.app.close();
  });

  it("tells a user who is no administrator nothing but that one is needed", async () => {
    const made = setUp();
    made.portal.install(2, { wizard: true });
    const html = await (await made.page(made.portal.open({ userId: 7, language: "de" }))).text();
    assert.match(html, /Ein Administrator Ihres Bitrix24 muss die App öffnen/);
    const { ticket, view } = dataOf(html);
    assert.deepEqual(view, {
      ...{ state: "stuck", status: view.status, canRetry: false, finishes: true },
    });
    const { body } = await ask(made, { ticket, retry: true });
    assert.deepEqual(body, view);
    await made.app.close();
  });

  it("speaks English, German and Russian", async () => {
    for (
      const [language, shown, lang] of [
        ["en", "Getting ready", "en"],
        ["de", "Die App wird vorbereitet", "de"],
        ["ru", "Приложение подготавливается", "ru"],
        ["fr", "Getting ready", "en"],
        ["<b>", "Getting ready", "en"],
      ] as const
    ) {
      const made = setUp();
      made.portal.install(2, { wizard: true });
      const html = await (await made.page(made.portal.open({ language }))).text();
      assert(html.includes(`<h1>${shown}</h1>`), html);
      assert(html.includes(`<html lang="${lang}">`), html);
      await made.app.close();
    }
  });

  it("escapes the title", async () => {
    const made = setUp({ title: `A & "B" <script>` });
    made.portal.install(2, { wizard: true });
    const html = await (await made.page(made.portal.open())).text();
    assert.match(html, /<h1>A &amp; &quot;B&quot; &lt;script&gt;<\/h1>/);
    await made.app.close();
  });

  it("may be embedded by Bitrix24 only, sets no cookies, and runs its own scripts only", async () => {
    const made = setUp();
    made.portal.install(2, { wizard: true });
    const response = await made.page(made.portal.open());
    const html = await response.text();
    const policy = new Map(
      response.headers.get("content-security-policy")!.split("; ").map((part): [string, string[]] => {
        const [name, ...sources] = part.split(" ");
        return [name!, sources];
      }),
    );
    const ancestors = policy.get("frame-ancestors")!;
    for (const origin of ["https://*.bitrix24.com", "https://*.bitrix24.ru", "https://example.bitrix24.de"]) {
      assert(ancestors.includes(origin), ancestors.join());
    }
    assert(ancestors.every((origin) => origin.startsWith("https://")), ancestors.join());
    const [, nonce] = /<script nonce="([^"]+)"/.exec(html)!;
    assert.deepEqual(policy.get("script-src"), [`'nonce-${nonce}'`, "https://api.bitrix24.com"]);
    assert.deepEqual(policy.get("style-src"), [`'nonce-${nonce}'`]);
    assert.deepEqual([policy.get("default-src"), policy.get("form-action")], [["'none'"], ["'none'"]]);
    assert.equal(response.headers.get("set-cookie"), null);
    assert.equal(response.headers.get("cache-control"), "no-store");
    assert.equal(response.headers.get("referrer-policy"), "no-referrer");
    assert.equal(response.headers.get("x-content-type-options"), "nosniff");
    const again = await made.page(made.portal.open());
    assert(!(await again.text()).includes(nonce!));
    await made.app.close();
  });

  it("answers what is no opening, is not authentic, or cannot be verified now", async () => {
    const made = setUp();
    const { portal, bitrix24 } = made;
    portal.install(2);
    const forged = portal.open();
    portal.expireTokens();
    const rows: readonly (readonly [make: () => Request, status: number, text: RegExp])[] = [
      [() => new Request("https://app.example.com/"), 400, /Please open this app in Bitrix24/],
      [() => post(portal.event("ONAPPTEST", {})), 400, /Please open this app in Bitrix24/],
      [() => post("x".repeat(100_000)), 400, /Please open this app in Bitrix24/],
      [() => forged, 403, /Bitrix24 does not confirm/],
      [
        () => {
          bitrix24.lose({ at: "oauth", times: 99 });
          return portal.open();
        },
        503,
        /Please reload the page in a minute/,
      ],
    ];
    for (const [make, status, text] of rows) {
      const response = await made.page(make());
      const html = await response.text();
      assert.equal(response.status, status);
      assert.match(html, text);
      assert.doesNotMatch(withoutUuids(html), SECRETS);
      assert.match(response.headers.get("content-security-policy")!, /frame-ancestors https:$/);
      assert.equal(response.headers.get("retry-after"), status === 503 ? "60" : null);
    }
    assert.doesNotMatch(
      withoutUuids(made.lines.join()).replaceAll(/"memberId":"\w+"/g, ""),
      /acce55|fe5fe5|5e55|a99[0-9a-f]{5}/,
    );
    await made.app.close();
  });

  it("answers questions by ticket only", async () => {
    const made = setUp();
    made.portal.install(2, { wizard: true });
    const html = await (await made.page(made.portal.open())).text();
    const { ticket } = dataOf(html);
    assert.equal((await ask(made, { ticket })).status, 200);
    for (const body of [{ ticket: "other" }, { ticket: MEMBER_ID }]) {
      assert.deepEqual(await ask(made, body), { status: 404, body: { error: "expired" } });
    }
    for (const body of ["", "{", "null", "[]", "{}", '{"ticket":1}', JSON.stringify({ ticket: "x".repeat(2000) })]) {
      assert.deepEqual(await ask(made, body), { status: 400, body: { error: "bad_request" } }, body);
    }
    await made.app.close();
    assert.equal((await ask(made, { ticket })).status, 503);
  });

  it("rejects with the errors of the app's own page", async () => {
    const made = setUp({
      page: () => {
        throw new Error("own");
      },
    });
    await made.install();
    await assert.rejects(made.page(made.portal.open()), { message: "own" });
    await made.app.close();
  });
});
