import assert from "node:assert/strict";
import {
  type B24Event,
  CannotVerifyError,
  type Context,
  createApp,
  memoryStorage,
  NotAuthenticError,
  type Observers,
  parseEvent,
  type Plugin,
  Secret,
  type Verification,
} from "@b24/onappupdate";
import { assertPlugins, runPipeline } from "../../../src/plugin/pipeline.ts";
import { MEMBER_ID, movableClock, post, quietLogger, recorder, recordingLogger, trustAll } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const BODY = `event=ONAPPINSTALL&ts=1785300000&data[VERSION]=2&auth[member_id]=${MEMBER_ID}&auth[domain]=x.de` +
  "&auth[application_token]=51856fefc120afa4b628cc82d3935cce";

function context(): Context {
  const event: B24Event = parseEvent(BODY);
  return { event, receivedAt: 0, log: quietLogger, signal: new AbortController().signal };
}

/** Notes when it begins and ends. */
function skin(name: string, seen: string[]): Plugin {
  return {
    name,
    around: async (_ctx, next) => {
      seen.push(`${name} in`);
      await next();
      seen.push(`${name} out`);
    },
  };
}

/** A core that notes its runs. */
function noting(seen: string[]): () => Promise<void> {
  return () => {
    seen.push("core");
    return Promise.resolve();
  };
}

type Around = NonNullable<Plugin["around"]>;

/** Does not wait for what it began. */
const neglect: Around = (_ctx, next) => {
  next();
  return Promise.resolve();
};

/** One plugin around a core that notes its runs, or fails. */
async function runAround(around: Around, failure?: Error): Promise<{ proof: Verification | undefined; runs: number }> {
  let runs = 0;
  const proof = await runPipeline([{ name: "tested", around }], context(), () => {
    runs++;
    return failure === undefined ? Promise.resolve() : Promise.reject(failure);
  });
  return { proof, runs };
}

const later = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));

describe("runPipeline() order", () => {
  it("puts the first plugin outermost", async () => {
    const seen: string[] = [];
    await runPipeline(["a", "b", "c"].map((name) => skin(name, seen)), context(), async () => {
      await later();
      seen.push("core");
    });
    assert.deepEqual(seen, ["a in", "b in", "c in", "core", "c out", "b out", "a out"]);
  });

  it("extends the context before the plugin's own around, and inside the around of the previous plugin", async () => {
    const seen: string[] = [];
    const plugin = (name: string): Plugin => ({
      ...skin(name, seen),
      extend: async () => {
        await later();
        seen.push(`${name} extends`);
        return {};
      },
    });
    await runPipeline([plugin("a"), plugin("b")], context(), noting(seen));
    assert.deepEqual(seen, ["a extends", "a in", "b extends", "b in", "core", "b out", "a out"]);
  });

  it("passes what a plugin added to its own around, to later plugins and to the core", async () => {
    const seen: unknown[] = [];
    const one: Plugin<object, { one: number }> = {
      name: "one",
      extend: () => ({ one: 1 }),
      around: async (ctx, next) => {
        seen.push(ctx.one);
        await next();
      },
    };
    const two: Plugin<{ one: number }, { two: number }> = { name: "two", extend: ({ one }) => ({ two: one + 1 }) };
    await runPipeline([one, two] as unknown as Plugin[], context(), (ctx) => {
      const { one, two, event } = ctx as Context & { one: number; two: number };
      seen.push(one, two, event.name);
      return Promise.resolve();
    });
    assert.deepEqual(seen, [1, 1, 2, "ONAPPINSTALL"]);
  });

  it("runs the core without plugins", async () => {
    const seen: string[] = [];
    assert.deepEqual(await runPipeline([], context(), noting(seen)), {});
    assert.deepEqual(seen, ["core"]);
  });

  it("skips plugins that only observe", async () => {
    const seen: string[] = [];
    await runPipeline(
      [{ name: "observer", observe: {} }, skin("a", seen)],
      context(),
      noting(seen),
    );
    assert.deepEqual(seen, ["a in", "core", "a out"]);
  });
});

describe("runPipeline() next()", () => {
  it("is not called: the core does not run, and nothing is verified", async () => {
    assert.deepEqual(await runAround(async () => {}), { proof: undefined, runs: 0 });
  });

  it("is not called by an inner plugin: outer plugins continue", async () => {
    const seen: string[] = [];
    const plugins = [skin("outer", seen), { name: "skips", around: async () => {} }, skin("inner", seen)];
    assert.equal(await runPipeline(plugins, context(), noting(seen)), undefined);
    assert.deepEqual(seen, ["outer in", "outer out"]);
  });

  it("is called twice: rejects, and runs the core once", async () => {
    const seen: string[] = [];
    const twice: Plugin = {
      name: "twice",
      around: async (_ctx, next) => {
        await next();
        await next();
      },
    };
    await assert.rejects(runPipeline([twice], context(), noting(seen)), {
      name: "Error",
      message: 'plugin "twice" called next() twice',
    });
    assert.deepEqual(seen, ["core"]);
  });

  it("is called twice at once: rejects, and runs the core once", async () => {
    const seen: string[] = [];
    const twice: Plugin = {
      name: "twice",
      around: async (_ctx, next) => {
        await Promise.all([next(), next()]);
      },
    };
    await assert.rejects(runPipeline([twice], context(), noting(seen)), /called next\(\) twice/);
    assert.deepEqual(seen, ["core"]);
  });

  it("is called again after a failure: does not run the core again", async () => {
    let runs = 0;
    const again: Plugin = { name: "again", around: (_ctx, next) => next().catch(() => next()) };
    const core = (): Promise<void> => Promise.reject(new Error(`failure ${++runs}`));
    await assert.rejects(runPipeline([again], context(), core), { message: "failure 1" });
    assert.equal(runs, 1);
  });

  it("is not awaited: runPipeline() awaits the work", async () => {
    let done = false;
    const hasty: Plugin = { name: "hasty", around: neglect };
    const proof = await runPipeline([hasty], context(), async () => {
      await later();
      done = true;
    });
    assert.equal(done, true);
    assert.deepEqual(proof, {});
  });

  it("is not awaited by a plugin that fails: runPipeline() awaits the work", async () => {
    let done = false;
    const failure = new Error("broken");
    const hasty: Plugin = {
      name: "hasty",
      around: (_ctx, next) => {
        next();
        throw failure;
      },
    };
    const core = async (): Promise<void> => {
      await later();
      done = true;
    };
    await assert.rejects(runPipeline([hasty], context(), core), failure);
    assert.equal(done, true);
  });

  it("is not awaited: runPipeline() rejects as the work does", async () => {
    const failure = new Error("broken");
    await assert.rejects(runAround(neglect, failure), failure);
  });
});

describe("runPipeline() failures", () => {
  const failure = new Error("broken");

  it("of the core reject", async () => {
    await assert.rejects(runAround((_ctx, next) => next(), failure), failure);
  });

  it("that are not errors reject unchanged", async () => {
    const core = (): Promise<void> => Promise.reject("a text");
    await assert.rejects(runPipeline([], context(), core), (thrown) => thrown === "a text");
    const undefinedCore = (): Promise<void> => Promise.reject(undefined);
    await assert.rejects(runPipeline([skin("a", [])], context(), undefinedCore), (thrown) => thrown === undefined);
  });

  it("of the core reject even if a plugin catches them", async () => {
    await assert.rejects(runAround((_ctx, next) => next().catch(() => {}), failure), failure);
  });

  it("of the core win over errors that a plugin throws because of them", async () => {
    const around: Around = (_ctx, next) =>
      next().catch((cause) => {
        throw new Error("wrapped", { cause });
      });
    await assert.rejects(runAround(around, failure), failure);
  });

  it("of the core reject if a plugin did not await the core and returned", async () => {
    const around: Around = async (_ctx, next) => {
      next().catch(() => {});
      await later();
    };
    await assert.rejects(runAround(around, failure), failure);
  });

  it("of a plugin before next() prevent the core from running", async () => {
    const seen: string[] = [];
    const plugins: Plugin[] = [{ name: "broken", around: () => Promise.reject(failure) }];
    await assert.rejects(runPipeline(plugins, context(), noting(seen)), failure);
    assert.deepEqual(seen, []);
  });

  it("of a plugin after next() reject, although the core has run", async () => {
    const around: Around = async (_ctx, next) => {
      await next();
      throw failure;
    };
    await assert.rejects(runAround(around), failure);
  });

  const inner: Readonly<Record<string, Plugin>> = {
    "around": { name: "inner", around: () => Promise.reject(failure) },
    "a synchronous around": {
      name: "inner",
      around: () => {
        throw failure;
      },
    },
    "extend": { name: "inner", extend: () => Promise.reject(failure) },
    "a synchronous extend": {
      name: "inner",
      extend: () => {
        throw failure;
      },
    },
    "a clash of keys": { name: "inner", extend: () => ({ event: 1 }) },
  };
  for (const [what, plugin] of Object.entries(inner)) {
    it(`of an inner plugin's ${what}, which prevented the core from running, reject even if an outer one catches them`, async () => {
      const seen: string[] = [];
      const outer: Plugin = { name: "outer", around: (_ctx, next) => next().catch(() => {}) };
      await assert.rejects(
        runPipeline([outer, plugin], context(), noting(seen)),
        (thrown) => thrown === failure || /adds "event"/.test(String(thrown)),
      );
      assert.deepEqual(seen, []);
    });
  }

  it("of an inner plugin after the core has run reject too", async () => {
    const outer: Plugin = { name: "outer", around: (_ctx, next) => next().catch(() => {}) };
    const inner: Plugin = { name: "inner", around: (_ctx, next) => next().then(() => Promise.reject(failure)) };
    await assert.rejects(runPipeline([outer, inner], context(), async () => {}), failure);
  });
});

describe("runPipeline() verification", () => {
  const proves = (name: string, proof?: Verification): Plugin => ({
    name,
    phase: "verify",
    around: (_ctx, next) => next(proof),
  });
  const token = new Secret("51856fefc120afa4b628cc82d3935cce");

  it("merges the results of all plugins, later ones overriding earlier ones", async () => {
    let seen: Verification | undefined;
    const proof = await runPipeline(
      [
        proves("a", { applicationToken: token, installedVersion: "1" }),
        proves("b"),
        proves("c", { installedVersion: "2", clientEndpoint: "https://x.de/rest/" }),
      ],
      context(),
      (_ctx, proof) => {
        seen = proof;
        return Promise.resolve();
      },
    );
    assert.deepEqual(Object.keys(proof ?? {}).sort(), ["applicationToken", "clientEndpoint", "installedVersion"]);
    assert.equal(proof?.applicationToken, token);
    assert.equal(proof?.installedVersion, "2");
    assert.equal(seen, proof);
  });

  it("is undefined if a later plugin does not accept the event", async () => {
    const plugins = [proves("a", { applicationToken: token }), { name: "b", around: async () => {} }];
    assert.equal(await runPipeline(plugins, context(), async () => {}), undefined);
  });
});

describe("runPipeline() context", () => {
  const extends_ = (name: string, added: () => object): Plugin => ({ name, extend: added });

  const clashes: Readonly<Record<string, readonly [plugins: Plugin[], message: string]>> = {
    "a key of the core": [
      [extends_("b", () => ({ event: 1 }))],
      'cannot extend the context: plugin "b" adds "event", which exists',
    ],
    "a key of another plugin": [
      [extends_("a", () => ({ database: 1 })), extends_("b", () => ({ database: 2 }))],
      'cannot extend the context: plugin "b" adds "database", which exists',
    ],
    "a key that every object has": [
      [extends_("b", () => ({ toString: 1 }))],
      'cannot extend the context: plugin "b" adds "toString", which exists',
    ],
  };
  for (const [name, [plugins, message]] of Object.entries(clashes)) {
    it(`refuses ${name} at the first event, without \`adds\``, async () => {
      const seen: string[] = [];
      await assert.rejects(runPipeline(plugins, context(), noting(seen)), { message });
      assert.deepEqual(seen, []);
    });
  }

  it("adds no key if one of several conflicts", async () => {
    const ctx = context();
    await assert.rejects(runPipeline([extends_("b", () => ({ mine: 1, log: 2 }))], ctx, async () => {}));
    assert.equal("mine" in ctx, false);
    assert.equal(ctx.log, quietLogger);
  });
});

describe("assertPlugins()", () => {
  const verifier: Plugin = { name: "verifier", phase: "verify", around: (_ctx, next) => next() };
  const cases: Readonly<Record<string, readonly [plugins: Plugin[], message: string]>> = {
    "no plugin": [
      [],
      'cannot start: no plugin of phase "verify", so anyone could send events; ' +
      "add one, such as applicationToken() of @b24/onappupdate/application-token",
    ],
    "no plugin that verifies": [
      [{ name: "a", around: (_ctx, next) => next() }, { name: "b", phase: "handle" }],
      'cannot start: no plugin of phase "verify", so anyone could send events; ' +
      "add one, such as applicationToken() of @b24/onappupdate/application-token",
    ],
    "a plugin that verifies nothing": [
      [{ name: "a", phase: "verify" }],
      'cannot start: no plugin of phase "verify", so anyone could send events; ' +
      "add one, such as applicationToken() of @b24/onappupdate/application-token",
    ],
    "two plugins of one name": [
      [verifier, { name: "verifier" }],
      'cannot start: two plugins have the name "verifier", wanted unique names',
    ],
    "two plugins that add one key": [
      [verifier, { name: "a", adds: ["database"] as never }, { name: "b", adds: ["other", "database"] as never }],
      'cannot start: plugin "b" adds "database" to the context, which plugin "a" adds too',
    ],
    "one plugin that adds one key twice": [
      [verifier, { name: "a", adds: ["database", "database"] as never }],
      'cannot start: plugin "a" adds "database" to the context, which plugin "a" adds too',
    ],
    "a plugin that verifies and extends": [
      [{ ...verifier, extend: () => ({}) }],
      'cannot start: plugin "verifier" of phase "verify" has extend(), wanted that only in phase "handle"',
    ],
  };
  for (const [name, [plugins, message]] of Object.entries(cases)) {
    it(`refuses ${name}`, () => assert.throws(() => assertPlugins(plugins), { name: "TypeError", message }));
  }

  const coreKeys = ["event", "portal", "receivedAt", "log", "signal", "memberId", "from", "to", "attempt", "mode"];
  for (const key of [...coreKeys, "step", "pages", "sleep", "progress"]) {
    it(`refuses a plugin that adds the core's ${key}`, () => {
      assert.throws(() => assertPlugins([verifier, { name: "a", adds: [key] as never }]), {
        name: "TypeError",
        message: `cannot start: plugin "a" adds "${key}" to the context, which the core adds too`,
      });
    });
  }

  it("accepts plugins without conflicts", () => {
    assertPlugins([
      verifier,
      { name: "second", phase: "verify", around: (_ctx, next) => next() },
      { name: "a", adds: ["database"] as never },
      { name: "b", adds: ["toString"] as never },
    ]);
  });
});

describe("the plugins of an app", () => {
  function app(...plugins: Plugin[]): ReturnType<typeof parts> {
    return parts(plugins);
  }
  function parts(plugins: readonly Plugin[]): {
    post: () => Promise<number>;
    tick: () => Promise<object>;
    stored: () => Promise<boolean>;
    lines: string[];
    names: () => string[];
    handled: string[];
  } {
    const { logger, lines } = recordingLogger();
    const { plugin, names } = recorder();
    const handled: string[] = [];
    const { clock, later } = movableClock();
    const app = createApp({ storage: memoryStorage(), acknowledge: "handled", logger, clock });
    for (const each of [...plugins, plugin]) app.use(each);
    app.on("ONAPPINSTALL", () => void handled.push("handler"));
    return {
      post: async () => {
        const response = await app.fetch(post(BODY));
        await response.body?.cancel();
        return response.status;
      },
      tick: () => {
        later();
        return app.tick();
      },
      stored: async () => await app.portal(MEMBER_ID) !== undefined,
      lines,
      names,
      handled,
    };
  }

  it("runs plugins of phase handle around the handlers, in the order of use()", async () => {
    const seen: string[] = [];
    const { post, handled } = app(trustAll, skin("a", seen), skin("b", seen));
    assert.equal(await post(), 200);
    assert.deepEqual(seen, ["a in", "b in", "b out", "a out"]);
    assert.deepEqual(handled, ["handler"]);
  });

  it("skips the handlers permanently if a plugin does not call next()", async () => {
    const { post, tick, handled, names } = app(trustAll, { name: "skips", around: async () => {} });
    assert.equal(await post(), 200);
    assert.deepEqual(await tick(), { handled: 0, failed: 0 });
    assert.deepEqual(handled, []);
    assert.deepEqual(names(), ["eventReceived", "eventHandled"]);
  });

  it("retries after a plugin has failed, even if another one catches the error", async () => {
    let broken = true;
    const fragile: Plugin = {
      name: "fragile",
      extend: () => {
        if (broken) throw new Error("no database");
        return {};
      },
    };
    const careless: Plugin = { name: "careless", around: (_ctx, next) => next().catch(() => {}) };
    const { post, tick, handled, names } = app(trustAll, careless, fragile);
    assert.equal(await post(), 200);
    assert.deepEqual(await tick(), { handled: 0, failed: 1 });
    broken = false;
    assert.deepEqual(await tick(), { handled: 1, failed: 0 });
    assert.deepEqual(handled, ["handler"]);
    assert.deepEqual(names(), ["eventReceived", "eventFailed", "eventFailed", "eventHandled"]);
  });

  it("keeps an event that fails on a conflict, for code without the conflict", async () => {
    const { post, tick, handled, lines } = app(trustAll, { name: "clash", extend: () => ({ log: 1 }) });
    assert.equal(await post(), 200);
    assert.deepEqual(await tick(), { handled: 0, failed: 1 });
    assert.deepEqual(handled, []);
    assert.match(lines.join("\n"), /plugin \\"clash\\" adds \\"log\\", which exists/);
  });

  const verdicts: Readonly<Record<string, readonly [around: Around, status: number]>> = {
    "that accepts the event": [(_ctx, next) => next(), 200],
    "that does not call next()": [async () => {}, 403],
    "that finds the event not authentic": [() => Promise.reject(new NotAuthenticError("no")), 403],
    "that cannot verify now": [() => Promise.reject(new CannotVerifyError("down")), 503],
    "that fails": [() => Promise.reject(new TypeError("x is undefined")), 503],
    "that fails synchronously": [
      () => {
        throw new TypeError("x is undefined");
      },
      503,
    ],
    "that calls next() twice": [(_ctx, next) => next().then(() => next()), 503],
    "that accepts the event and fails then": [
      (_ctx, next) => next().then(() => Promise.reject(new Error("late"))),
      503,
    ],
  };
  for (const [name, [around, status]] of Object.entries(verdicts)) {
    const verifier: Plugin = { name: "verifier", phase: "verify", around };
    const careless: Plugin = { name: "careless", phase: "verify", around: (_ctx, next) => next().catch(() => {}) };
    it(`answers ${status} with a verifier ${name}`, async () => {
      const { post, stored, handled } = app(verifier);
      assert.equal(await post(), status);
      assert.equal(await stored(), status === 200);
      assert.equal(handled.length, status === 200 ? 1 : 0);
    });
    it(`answers ${status} with a verifier ${name} before one that accepts the event`, async () => {
      const { post, stored } = app(verifier, trustAll);
      assert.equal(await post(), status);
      assert.equal(await stored(), status === 200);
    });
    it(`answers ${status} with a verifier ${name} inside one that catches everything`, async () => {
      const { post, stored } = app(careless, verifier);
      assert.equal(await post(), status);
      assert.equal(await stored(), status === 200);
    });
  }

  const throws: Readonly<Record<string, () => void | Promise<void>>> = {
    "an observer that throws": () => {
      throw new Error("observer is broken");
    },
    "an observer that rejects": () => Promise.reject(new Error("observer is broken")),
    "an observer that rejects later": async () => {
      await later();
      throw new Error("observer is broken");
    },
  };
  const observed = [
    "eventReceived",
    "eventRejected",
    "duplicateReceived",
    "runPlanned",
    "upgradeApplied",
    "portalUpgraded",
    "upgradeRetryScheduled",
    "eventHandled",
  ] as const;
  for (const [name, observer] of Object.entries(throws)) {
    it(`logs ${name}, and changes nothing`, async () => {
      const lives = [undefined, observer].map(async (observer) => {
        const { logger, lines } = recordingLogger();
        const { plugin, names } = recorder();
        const observe = Object.fromEntries(observed.map((name) => [name, observer ?? ((): void => {})]));
        const app = createApp({
          storage: memoryStorage(),
          acknowledge: "handled",
          logger,
          clock: () => now,
          random: () => "always the same",
        })
          .use(trustAll).use({ name: "observer", observe: observe as Partial<Observers> }).use(plugin);
        let now = 1_785_300_000_000;
        let broken = true;
        const seen: string[] = [];
        app.upgrade("3", ({ from, to }) => {
          if (broken) throw new Error("not yet");
          seen.push(`${from} -> ${to}`);
        });
        const update = BODY.replace("INSTALL", "UPDATE").replace("VERSION]=2", "VERSION]=3&data[PREVIOUS_VERSION]=2");
        const statuses: number[] = [];
        for (const body of [BODY, BODY, update, "garbage"]) {
          const response = await app.fetch(post(body));
          await response.body?.cancel();
          statuses.push(response.status);
        }
        broken = false;
        now += 3_600_000;
        const ticked = await app.tick();
        await later();
        await later();
        const portal = await app.portal(MEMBER_ID);
        await app.close();
        return { statuses, ticked, seen, names: names(), portal: JSON.stringify(portal), lines };
      });
      const [calm, shaken] = await Promise.all(lives);
      assert.deepEqual({ ...shaken, lines: [] }, { ...calm, lines: [] });
      assert.deepEqual(calm?.statuses, [200, 200, 200, 400]);
      assert.deepEqual(calm?.seen, ["2.0.0 -> 3.0.0"]);
      const logged = shaken!.lines.map((line) => JSON.parse(line)).filter(({ message }) =>
        message === "observer failed"
      );
      assert.deepEqual(new Set(logged.map(({ observer }) => observer)), new Set(observed));
      assert(
        logged.every(({ level, plugin, err }) =>
          level === "error" && plugin === "observer" && err.message === "observer is broken"
        ),
      );
      assert.equal(shaken!.lines.length - logged.length, calm!.lines.length);
    });
  }

  it("does not wait for an observer that never resolves", async () => {
    const { post, names } = app(trustAll, {
      name: "endless",
      observe: { eventReceived: () => new Promise(() => {}), eventHandled: () => new Promise(() => {}) },
    });
    assert.equal(await post(), 200);
    assert.deepEqual(names(), ["eventReceived", "eventHandled"]);
  });
});
