import assert from "node:assert/strict";
import { SCRIPT } from "../../../../plugins/operator_console/assets/script.ts";
import { describe, it } from "../../../support/test.ts";

/** A live part of a page. */
interface Part {
  readonly id: string;
  innerHTML: string;
}

/** A browser with just what the script of an open page uses. */
interface Browser {
  /** Tells the page of a change, and runs the timer that it sets. */
  readonly tell: () => Promise<void>;
  /** Moves the focus into a part, or out of all of them; then runs the timer that the page has set, if it has. */
  readonly focus: (part: Part | undefined) => Promise<void>;
  /** Number of times that the page was loaded again. */
  readonly reloads: () => number;
}

/** Runs the script of a page with a stream and one live part. `answer`: the answer to the request for its parts. */
function openPage(answer: () => Partial<Response>, shown?: Part, next?: Part): Browser {
  const listeners = new Map<string, () => void>();
  const timers: (() => Promise<void>)[] = [];
  let reloads = 0;
  let focused: Part | undefined;
  class EventSource {
    static readonly CLOSED = 2;
    readonly readyState = 1;
    addEventListener(name: string, listener: () => void): void {
      listeners.set(name, listener);
    }
  }
  const elementOf = (part: Part): object => ({
    get id() {
      return part.id;
    },
    get innerHTML() {
      return part.innerHTML;
    },
    ...{ childNodes: [part.innerHTML], querySelectorAll: () => [], contains: () => focused === part },
    replaceChildren: (text: string) => void (part.innerHTML = text),
  });
  const document = {
    ...{ hidden: false, documentElement: { lang: "en" }, body: { dataset: { stream: "/live" } }, activeElement: {} },
    ...{ querySelectorAll: () => [], querySelector: () => null, addEventListener: () => {} },
    getElementById: () => shown === undefined ? null : elementOf(shown),
  };
  const fetched = { querySelectorAll: () => next === undefined ? [] : [elementOf(next)] };
  const parameters = {
    ...{ document, EventSource, navigator: { languages: ["en"] } },
    addEventListener: (name: string, listener: () => void) => void listeners.set(name, listener),
    location: { href: "https://ops.example/", reload: () => void reloads++ },
    fetch: () => Promise.resolve(answer()),
    setTimeout: (run: () => Promise<void>) => timers.push(run),
    clearTimeout: () => {},
    DOMParser: class {
      parseFromString = (): typeof fetched => fetched;
    },
  };
  new Function(...Object.keys(parameters), SCRIPT)(...Object.values(parameters));
  return {
    tell: async () => {
      listeners.get("totals")!();
      await timers.shift()!();
    },
    focus: async (part) => {
      focused = part;
      listeners.get("focusout")!();
      await timers.shift()?.();
    },
    reloads: () => reloads,
  };
}

const OK: Partial<Response> = { redirected: false, ok: true, status: 200, text: () => Promise.resolve("") };

describe("the script of an open page", () => {
  it("loads the page again once nobody is signed in: what it shows is not for those who are there now", async () => {
    for (const ended of [{ redirected: true, ok: true, status: 200 }, { redirected: false, ok: false, status: 403 }]) {
      let answer = OK;
      const page = openPage(() => answer);
      await page.tell();
      assert.equal(page.reloads(), 0);
      answer = ended;
      await page.tell();
      assert.equal(page.reloads(), 1, String(ended.status));
    }
  });

  it("leaves a part alone while the focus is in it, and brings it up to date after that", async () => {
    const part: Part = { id: "actions", innerHTML: "Retry" };
    const page = openPage(() => OK, part, { id: "actions", innerHTML: "Rehearse" });
    await page.focus(part);
    await page.tell();
    assert.equal(part.innerHTML, "Retry");
    await page.focus(undefined);
    assert.equal(part.innerHTML, "Rehearse");
  });
});
