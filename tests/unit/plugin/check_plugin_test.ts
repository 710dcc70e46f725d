import assert from "node:assert/strict";
import { createApp, memoryStorage, type Plugin } from "@b24/onappupdate";
import { consoleChannel } from "@b24/onappupdate/notifications";
import { describe, it } from "../../support/test.ts";

function use(plugin: object): void {
  createApp({ storage: memoryStorage() }).use(plugin as Plugin);
}

const run = (): void => {};

describe("app.use() refuses a plugin with", () => {
  const mistakes: readonly (readonly [members: object, message: string])[] = [
    [{ name: " " }, 'name " ", wanted a name that is unique within the app'],
    [{ phase: "verfy" }, 'phase "verfy", wanted "verify" or "handle"'],
    [{ setup: {} }, "setup an object, wanted a function"],
    [{ extend: "b24" }, 'extend "b24", wanted a function'],
    [{ around: null }, "around null, wanted a function"],
    [{ check: true }, "check true, wanted a function"],
    [{ close: 1 }, "close 1, wanted a function"],
    [{ adds: "b24" }, 'adds "b24", wanted a list of the keys that extend() returns'],
    [{ adds: [1] }, "adds.0 1, wanted a key that extend() returns"],
    [{ verificationPolicy: 5 }, "verificationPolicy 5, wanted an object with budget, bounds, trustedAddresses"],
    [{ observe: run }, "observe a function, wanted an object with eventReceived, eventPostponed, "],
    [{ observe: { portalParked: true } }, "observe.portalParked true, wanted a function"],
    [{ observe: { portalPraked: run } }, "the option observe.portalPraked that does not exist, wanted portalParked"],
    [{ observe: { upgradeDone: run } }, "the option observe.upgradeDone that does not exist, wanted "],
    // Misspelled members.
    [{ phaze: "verify" }, "the member phaze that does not exist, wanted phase"],
    [{ aruond: run }, "the member aruond that does not exist, wanted around"],
    [{ setUp: run }, "the member setUp that does not exist, wanted setup"],
    [{ onClose: run }, "the member onClose that does not exist, wanted close"],
    [{ add: ["b24"] }, "the member add that does not exist, wanted adds"],
    [{ observers: { portalParked: run } }, "the member observers that does not exist, wanted observe"],
    [{ verificationPolice: {} }, "the member verificationPolice that does not exist, wanted verificationPolicy"],
    // Observers in the wrong place.
    [{ portalParked: run }, "the member portalParked that does not exist, wanted observe.portalParked"],
    [{ portalPraked: run }, "the member portalPraked that does not exist, wanted observe.portalParked"],
    [{ onEvent: run }, "the member onEvent that does not exist, wanted observe.eventReceived"],
    [{ onEventFailed: run }, "the member onEventFailed that does not exist, wanted observe.eventFailed"],
  ];
  for (const [members, message] of mistakes) {
    it(message, () => {
      assert.throws(() => use({ name: "mine", ...members }), (error: unknown) => {
        assert(error instanceof TypeError);
        const name = "name" in members ? members.name : "mine";
        assert(error.message.startsWith(`cannot add plugin "${name}" with ${message}`), error.message);
        return true;
      });
    });
  }

  it("the members of something else, which would have no effect", () => {
    const message =
      /^cannot add "(memory|console)", which is no plugin: it has none of phase, verificationPolicy, setup, /;
    for (const other of [memoryStorage(), consoleChannel()]) {
      assert.throws(() => use(other), { name: "TypeError", message });
    }
    use({ name: "mine" });
  });

  it("a mistake in a class", () => {
    class Metrics {
      readonly name = "metrics";
      readonly phase = "verify";
      around(): string {
        return "";
      }
      readonly aroound = run;
    }
    assert.throws(() => use(new Metrics()), /with the member aroound that does not exist, wanted around$/);
    class Wrong {
      readonly name = "wrong";
      get around(): string {
        return "";
      }
    }
    assert.throws(() => use(new Wrong()), /with around "", wanted a function$/);
    class Observers {
      readonly portalPraked = run;
    }
    assert.throws(
      () => use({ name: "mine", observe: new Observers() }),
      /observe\.portalPraked that does not exist, wanted portalParked$/,
    );
  });
});

describe("app.use() accepts a plugin with", () => {
  it("all members, and with undefined ones", () => {
    const names = ["phase", "verificationPolicy", "setup", "adds", "extend", "around", "check", "observe", "close"];
    use({ name: "none", ...Object.fromEntries(names.map((name) => [name, undefined])) });
    use({
      ...{ name: "all", phase: "verify", verificationPolicy: {}, setup: run, adds: ["b24"], extend: run, around: run },
      ...{ check: run, observe: { portalParked: run, eventFailed: undefined }, close: run },
    });
  });

  it("members of its own, whatever their kind", () => {
    use({
      ...{
        name: "own",
        setup: run,
        closed: false,
        checks: new Map(),
        names: ["a"],
        phases: 3,
        observed: 0,
        host: undefined,
      },
      ...{ clock: run, send: run, onMessage: run, onError: run, options: {}, [Symbol("private")]: run },
    });
  });

  it("a class with fields, private ones and methods of its own", async () => {
    const seen: string[] = [];
    class Base {
      protected readonly store = new Map<string, number>();
      closes(): void {}
    }
    class Metrics extends Base {
      readonly #secret = "s";
      readonly name = "metrics";
      readonly phase = "verify";
      readonly checked = new Set<string>();
      readonly portalParked = (): void => void this.store.set(this.#secret, 1);
      readonly observe = { portalParked: this.portalParked };
      static readonly arround = run;
      readonly around: NonNullable<Plugin["around"]> = (_ctx, next) => next();
      setup(): void {
        seen.push("setup");
      }
      onEvent(): void {}
    }
    const app = createApp({ storage: memoryStorage(), tickEveryMs: false, logger: silent }).use(new Metrics());
    await app.start();
    await app.close();
    assert.deepEqual(seen, ["setup"]);
  });

  it("observers in a class with members of its own", () => {
    class Counters {
      readonly counts = new Map<string, number>();
      readonly reset = run;
      readonly portalParked = run;
      eventFailed(): void {}
    }
    use({ name: "counters", observe: new Counters() });
  });
});

const silent = { debug: run, info: run, warn: run, error: run };
