import assert from "node:assert/strict";
import { SCRIPT } from "../../../../plugins/operator_console/assets/script.ts";
import { describe, it } from "../../../support/test.ts";

/** A browser with just what the script of an open page uses. */
interface Browser {
  /** Tells the page of a change, and runs the timer that it sets. */
  readonly tell: () => Promise<void>;
  /** Number of times that the page was loaded again. */
  readonly reloads: () => number;
}

/** Runs the script of a page with a stream. `answer`: the answer to the request for its parts. */
function openPage(answer: () => Partial<Response>): Browser {
  const listeners = new Map<string, () => void>();
  const timers: (() => Promise<void>)[] = [];
  let reloads = 0;
  class EventSource {
    static readonly CLOSED = 2;
    readonly readyState = 1;
    addEventListener(name: string, listener: () => void): void {
      listeners.set(name, listener);
    }
  }
  const document = {
    ...{ hidden: false, documentElement: { lang: "en" }, body: { dataset: { stream: "/live" } } },
    ...{ querySelectorAll: () => [], querySelector: () => null, addEventListener: () => {} },
  };
  const parameters = {
    ...{ document, EventSource, navigator: { languages: ["en"] }, addEventListener: () => {} },
    location: { href: "https://ops.example/", reload: () => void reloads++ },
    fetch: () => Promise.resolve(answer()),
    setTimeout: (run: () => Promise<void>) => timers.push(run),
    clearTimeout: () => {},
    DOMParser: class {
      parseFromString = (): typeof document => document;
    },
  };
  new Function(...Object.keys(parameters), SCRIPT)(...Object.values(parameters));
  return {
    tell: async () => {
      listeners.get("totals")!();
      await timers.shift()!();
    },
    reloads: () => reloads,
  };
}

describe("the script of an open page", () => {
  it("loads the page again once nobody is signed in: what it shows is not for those who are there now", async () => {
    for (const ended of [{ redirected: true, ok: true, status: 200 }, { redirected: false, ok: false, status: 403 }]) {
      let answer: Partial<Response> = { redirected: false, ok: true, status: 200, text: () => Promise.resolve("") };
      const page = openPage(() => answer);
      await page.tell();
      assert.equal(page.reloads(), 0);
      answer = ended;
      await page.tell();
      assert.equal(page.reloads(), 1, String(ended.status));
    }
  });
});
