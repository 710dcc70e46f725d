import assert from "node:assert/strict";
import { B24Error, createApp, memoryStorage, type Portal } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import {
  type Declaration,
  type HasB24Batch,
  type RegistrationChange,
  registrations,
  type RegistrationsOptions,
} from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24, type FakePortal, type FakeRegistrations } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, quietLogger } from "../../../support/app.ts";
import { checkCall } from "../../../support/rest_spec.ts";
import { describe, it } from "../../../support/test.ts";

const CLIENT_SECRET = "client-secret-0123456789abcdef";
const URL_ = "https://app.example.com/b24";

/** Registrations of each kind, with all optional fields. */
const ALL: Declaration = {
  events: [
    { event: "ONCRMDEALADD", handler: `${URL_}/events` },
    { event: "ONCRMDEALUPDATE", handler: `${URL_}/events`, userId: 1 },
    { event: "ONCRMDEALDELETE", offline: true, authConnector: "us" },
  ],
  placements: [
    { placement: "CRM_DEAL_DETAIL_TAB", handler: `${URL_}/deal`, title: "Rating", description: "Of deals" },
    { placement: "LEFT_MENU", handler: `${URL_}/menu`, title: "App", params: { LANG_ALL: { de: { TITLE: "App" } } } },
  ],
  robots: [{
    code: "rate",
    handler: `${URL_}/rate`,
    name: { de: "Bewerten", en: "Rate" },
    userId: 1,
    params: { PROPERTIES: { stars: { Name: "Stars", Type: "int" } }, USE_SUBSCRIPTION: "Y" },
  }],
  activities: [{ code: "wait", handler: `${URL_}/wait`, name: "Wait" }],
  messageSenders: [{ code: "sms", handler: `${URL_}/sms`, name: "Texts", description: "By us" }],
  userFieldTypes: [{ type: "stars", handler: `${URL_}/stars`, title: "Stars", description: "One to five" }],
  connectors: [{
    id: "us",
    name: "Us",
    icon: { DATA_IMAGE: "data:image/svg+xml;charset=US-ASCII,x" },
    handler: `${URL_}/connector`,
    params: { CHAT_GROUP: "N" },
  }],
  triggers: [{ code: "paid", name: "Paid" }],
};

interface Scene {
  readonly portal: FakePortal;
  readonly calls: string[];
  readonly b24: HasB24Batch["b24"];
  /** Returns the portal in its current state. */
  readonly known: () => Promise<Portal>;
  readonly app: ReturnType<typeof createApp>;
}

/** Returns an installed portal and a client that checks every command against the documentation. */
async function scene(
  declare?: Parameters<typeof registrations>[0],
  options?: RegistrationsOptions & { readonly scope?: readonly string[] },
): Promise<Scene> {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clientSecret: CLIENT_SECRET, clock: Date.now });
  const {
    scope = ["crm", "placement", "bizproc", "messageservice", "imopenlines", "userfieldconfig", "user_brief"],
    ...others
  } = options ?? {};
  const portal = bitrix24.portal({ memberId: MEMBER_ID, scope });
  const portals = rest({ rate: { burst: 10_000, perSecond: 1000 }, attempts: 1 });
  const plain = createApp({
    storage: memoryStorage(),
    clientId: CLIENT_ID,
    clientSecret: CLIENT_SECRET,
    fetch: bitrix24.fetch,
    acknowledge: "handled",
    tickEveryMs: false,
    checks: false,
    logger: quietLogger,
  }).use(applicationToken()).use(portals);
  const app = declare === undefined ? plain : plain.use(registrations(declare, others));
  await app.start();
  bitrix24.deliverTo(app.fetch);
  await portal.sends.install(2);
  const calls: string[] = [];
  return {
    app: app as never,
    portal,
    calls,
    known: async () => (await app.portal(MEMBER_ID))!,
    b24: {
      batch: (commands) => {
        for (const [method, params] of Object.values(commands)) {
          checkCall(method, params);
          calls.push(method);
        }
        return portals.portal(MEMBER_ID).batch<Record<string, unknown>>(commands);
      },
    },
  };
}

/** Returns the kinds and identifiers of registrations. */
function there(registered: FakeRegistrations): string[] {
  return Object.entries(registered).flatMap(([kind, list]) =>
    (list as readonly Readonly<Record<string, unknown>>[]).map((one) =>
      `${kind} ${one.CODE ?? one.EVENT ?? one.PLACEMENT ?? one.USER_TYPE_ID ?? one.ID}`
    )
  ).sort();
}

const WHOLE = [
  ...["activities wait", "connectors us", "events ONCRMDEALADD", "events ONCRMDEALDELETE", "events ONCRMDEALUPDATE"],
  ...["placements CRM_DEAL_DETAIL_TAB", "placements LEFT_MENU", "robots rate", "senders sms", "triggers paid"],
  "userFieldTypes stars",
];

const brief = (changes: readonly RegistrationChange[], action?: string): string[] =>
  changes.filter((one) => action === undefined || one.action === action).map((one) =>
    `${one.action} ${one.kind} ${one.id}`
  );
const CHANGES = /\.(add|update|delete|bind|unbind|register|unregister)$/;

describe("registrations().apply()", () => {
  it("registers each kind in two requests, and one for a source, with documented parameters", async () => {
    const { portal, b24, known } = await scene();
    const requests = (): string[] => portal.calls().filter(({ isInBatch }) => !isInBatch).map(({ method }) => method);
    const before = requests().length;
    const changes = await registrations(ALL).apply({ b24, portal: await known() });
    assert.deepEqual(there(portal.registrations()), WHOLE);
    assert.equal(brief(changes, "add").length, WHOLE.length);
    assert.deepEqual(requests().slice(before), ["batch", "batch", "event.bind", "batch"]);
  });

  it("binds an offline event with its source, also several of one event, and removes each alone", async () => {
    const { portal, b24, known } = await scene();
    const bound = (): unknown[] =>
      portal.registrations().events.map(({ EVENT, AUTH_CONNECTOR }) => [EVENT, AUTH_CONNECTOR]);
    const offline = (...sources: (string | undefined)[]): Declaration => ({
      events: sources.map((authConnector) => ({
        ...{ event: "ONCRMDEALADD", offline: true },
        ...(authConnector === undefined ? {} : { authConnector }),
      })),
    });
    // There without a source, whose queue is another one.
    await registrations(offline(undefined)).apply({ b24, portal: await known() });
    const changes = await registrations(offline("us", "shop")).apply({ b24, portal: await known() });
    assert.deepEqual(brief(changes).sort(), [
      "add events ONCRMDEALADD offline of source shop",
      "add events ONCRMDEALADD offline of source us",
      "remove events ONCRMDEALADD offline",
    ]);
    assert.deepEqual(bound(), [["ONCRMDEALADD", "us"], ["ONCRMDEALADD", "shop"]]);
    assert.deepEqual(brief(await registrations(offline("shop", "us")).apply({ b24, portal: await known() }), "keep"), [
      "keep events ONCRMDEALADD offline of source shop",
      "keep events ONCRMDEALADD offline of source us",
    ]);
    await registrations(offline("shop")).apply({ b24, portal: await known() });
    assert.deepEqual(bound(), [["ONCRMDEALADD", "shop"]]);
    await registrations(offline()).apply({ b24, portal: await known() });
    assert.deepEqual(bound(), []);
    assert.throws(
      () => registrations(offline("us", "us")),
      /events\.1: ONCRMDEALADD offline of source us is declared twice/,
    );
    assert.throws(() => registrations(offline("")), /events\.0\.authConnector/);
    assert.throws(
      () => registrations({ events: [{ event: "ONAPPTEST", offline: true, params: { auth_connector: "us" } }] }),
      /params\.auth_connector: wanted in its own field/,
    );
  });

  it("keeps an offline event of a portal that does not list its source", async () => {
    const { known } = await scene();
    const calls: string[] = [];
    const b24: HasB24Batch["b24"] = {
      batch: (commands) => {
        calls.push(...Object.values(commands).map(([method]) => method));
        const value = [{ event: "ONCRMDEALADD", handler: "", auth_type: "0", offline: 1 }];
        return Promise.resolve(Object.fromEntries(Object.keys(commands).map((name) => [name, { ok: true, value }])));
      },
    };
    const events = [{ event: "ONCRMDEALADD", offline: true, authConnector: "us" }];
    const changes = await registrations({ events }).apply({ b24, portal: await known() });
    assert.deepEqual(brief(changes), ["keep events ONCRMDEALADD offline of source us"]);
    assert.deepEqual(calls, ["event.get"]);
  });

  it("changes nothing the second time, except what Bitrix24 does not list completely", async () => {
    const { portal, b24, known, calls } = await scene();
    const plugin = registrations(ALL);
    await plugin.apply({ b24, portal: await known() });
    const before = portal.registrations();
    calls.length = 0;
    const changes = await plugin.apply({ b24, portal: await known() });
    // Bitrix24 lists only the codes of these.
    assert.deepEqual(calls.filter((method) => CHANGES.test(method)).sort(), [
      ...["bizproc.activity.update", "bizproc.robot.update", "imconnector.register", "messageservice.sender.update"],
    ]);
    assert.deepEqual(brief(changes, "add"), []);
    assert.deepEqual(there(portal.registrations()), there(before));
  });

  it("restores registrations that an update has removed, with the same codes", async () => {
    for (const which of ["all", "bizproc"] as const) {
      const { portal, b24, known } = await scene();
      const plugin = registrations(ALL);
      await plugin.apply({ b24, portal: await known() });
      portal.dropRegistrations(which);
      assert.notDeepEqual(there(portal.registrations()), WHOLE);
      await plugin.apply({ b24, portal: await known() });
      assert.deepEqual(there(portal.registrations()), WHOLE);
    }
  });

  it("removes undeclared registrations of declared kinds only, and never a connector of another app", async () => {
    const { portal, b24, known, calls } = await scene();
    await registrations(ALL).apply({ b24, portal: await known() });
    calls.length = 0;
    const changes = await registrations({
      events: [],
      placements: ALL.placements!.slice(0, 1),
      connectors: [],
      robots: [],
    })
      .apply({ b24, portal: await known() });
    assert.deepEqual(brief(changes, "remove").sort(), [
      "remove events ONCRMDEALADD https://app.example.com/b24/events",
      "remove events ONCRMDEALDELETE offline of source us",
      "remove events ONCRMDEALUPDATE https://app.example.com/b24/events as user 1",
      "remove placements LEFT_MENU https://app.example.com/b24/menu",
      "remove robots rate",
    ]);
    assert.deepEqual(there(portal.registrations()), [
      ...["activities wait", "connectors us", "placements CRM_DEAL_DETAIL_TAB", "senders sms", "triggers paid"],
      "userFieldTypes stars",
    ]);
  });

  it("updates changed registrations, a placement by unbinding and binding it", async () => {
    const { portal, b24, known, calls } = await scene();
    const declare = (title: string): Declaration => ({
      placements: [{ placement: "CRM_DEAL_DETAIL_TAB", handler: `${URL_}/deal`, title }],
      userFieldTypes: [{ type: "stars", handler: `${URL_}/stars`, title }],
      triggers: [{ code: "paid", name: title }],
    });
    await registrations(declare("Old")).apply({ b24, portal: await known() });
    calls.length = 0;
    await registrations(declare("New")).apply({ b24, portal: await known() });
    assert.deepEqual(calls.filter((method) => CHANGES.test(method)).sort(), [
      ...["crm.automation.trigger.add", "placement.bind", "placement.unbind", "userfieldtype.update"],
    ]);
    const { placements, userFieldTypes, triggers } = portal.registrations();
    assert.deepEqual([placements.length, placements[0]!.TITLE, userFieldTypes[0]!.TITLE, triggers[0]!.NAME], [
      ...[1, "New", "New", "New"],
    ]);
  });

  it("treats a robot with another code as another robot", async () => {
    const { portal, b24, known } = await scene();
    const robot = (code: string): Declaration => ({ robots: [{ code, handler: `${URL_}/r`, name: "R" }] });
    await registrations(robot("one")).apply({ b24, portal: await known() });
    const changes = await registrations(robot("two")).apply({ b24, portal: await known() });
    assert.deepEqual(brief(changes), ["add robots two", "remove robots one"]);
    assert.deepEqual(there(portal.registrations()), ["robots two"]);
  });

  it("never unbinds events without event and handler", async () => {
    const { b24, known } = await scene();
    const seen: object[] = [];
    const spying: HasB24Batch["b24"] = {
      batch: (commands) => {
        for (const [method, params] of Object.values(commands)) if (method === "event.unbind") seen.push(params!);
        return b24.batch(commands);
      },
    };
    await registrations(ALL).apply({ b24: spying, portal: await known() });
    await registrations({ events: [] }).apply({ b24: spying, portal: await known() });
    assert.equal(seen.length, 3);
    for (const params of seen) assert("event" in params && "handler" in params, JSON.stringify(params));
    const nameless: HasB24Batch["b24"] = {
      batch: () => Promise.resolve({ events: { ok: true, value: [{ handler: `${URL_}/x`, offline: 0 }] } }),
    };
    await assert.rejects(
      registrations({ events: [] }).apply({ b24: nameless, portal: await known() }),
      /without an event/,
    );
  });

  it("treats only the errors for an existing or missing registration as success", async () => {
    const { known } = await scene();
    const answers = (code: string, description: string): HasB24Batch["b24"] => ({
      batch: (commands) =>
        Promise.resolve(Object.fromEntries(
          Object.entries(commands).map(([name, [method]]) => [
            name,
            /\.(list|get|update)$/.test(method) ? { ok: true, value: listed[method] ?? [] } as const : {
              ok: false,
              error: new B24Error({ code, description, status: 200, method }),
            } as const,
          ]),
        )),
    });
    let listed: Record<string, unknown> = {};
    const portal = await known();
    const only = (kind: keyof Declaration): Declaration => ({ [kind]: ALL[kind] });
    const DONE: [code: string, description: string, kind: keyof Declaration][] = [
      ["ERROR_CORE", "Unable to set event handler: Handler already binded", "events"],
      ["ERROR_CORE", "Unable to set placement handler: Handler already binded", "placements"],
      ["ERROR_ACTIVITY_ALREADY_INSTALLED", "Activity or Robot already installed!", "robots"],
      ["ERROR_ACTIVITY_ALREADY_INSTALLED", "Activity or Robot already installed!", "activities"],
      ["ERROR_SENDER_ALREADY_INSTALLED", "Sender already installed!", "messageSenders"],
      ["ERROR_CORE", "Unable to set placement handler: Handler already binded", "userFieldTypes"],
    ];
    for (const [code, description, kind] of DONE) {
      await registrations(only(kind)).apply({ b24: answers(code, description), portal });
      const others = [["ERROR_CORE", "Something else"], ["ERROR_HANDLER_URL_MATCH", description]] as const;
      for (const [other, words] of others) {
        // Only the combination of this code and this message means success.
        await assert.rejects(registrations(only(kind)).apply({ b24: answers(other, words), portal }), {
          b24Code: other,
        });
      }
    }
    listed = { "bizproc.robot.list": ["gone"] };
    await registrations({ robots: [] }).apply({ b24: answers("ERROR_ACTIVITY_NOT_FOUND", ""), portal });
    await assert.rejects(registrations({ robots: [] }).apply({ b24: answers("ERROR_CORE", "already"), portal }));
  });

  it("applies the other kinds if the scope of one is missing, and throws afterwards", async () => {
    const { portal, b24, known } = await scene(undefined, { scope: ["crm", "placement"] });
    const plugin = registrations({ robots: ALL.robots!, placements: ALL.placements!, events: ALL.events!.slice(0, 1) });
    await assert.rejects(plugin.apply({ b24, portal: await known() }), { name: "B24Error", blockedOn: "scope" });
    assert.deepEqual(there(portal.registrations()), [
      ...["events ONCRMDEALADD", "placements CRM_DEAL_DETAIL_TAB", "placements LEFT_MENU"],
    ]);
  });

  it("has the same result when it runs concurrently", async () => {
    const { portal, b24, known } = await scene();
    const plugin = registrations(ALL);
    const at = await known();
    await Promise.all([1, 2, 3].map(() => plugin.apply({ b24, portal: at })));
    assert.deepEqual(there(portal.registrations()), WHOLE);
  });

  it("has the same result after an interruption at any change", async () => {
    for (let cut = 1; cut <= 3; cut++) {
      const { portal, b24, known } = await scene();
      await registrations({ ...ALL, robots: [{ code: "old", handler: `${URL_}/old`, name: "Old" }] })
        .apply({ b24, portal: await known() });
      let left = cut;
      const cutOff: HasB24Batch["b24"] = {
        batch: async (commands) => {
          const some = Object.entries(commands).filter(([, [method]]) => !CHANGES.test(method) || left-- > 0);
          const outcomes = await b24.batch(Object.fromEntries(some));
          if (some.length < Object.keys(commands).length) throw new Error("cut off");
          return outcomes;
        },
      };
      await assert.rejects(registrations(ALL).apply({ b24: cutOff, portal: await known() }), /cut off/);
      await registrations(ALL).apply({ b24, portal: await known() });
      assert.deepEqual(there(portal.registrations()), WHOLE);
    }
  });
});

describe("registrations().plan()", () => {
  it("returns the differences and changes nothing", async () => {
    const { b24, known, calls } = await scene();
    const plugin = registrations({
      robots: [{ code: "new", handler: `${URL_}/new`, name: "New" }],
      triggers: ALL.triggers!,
    });
    await registrations({ robots: ALL.robots!, triggers: ALL.triggers! }).apply({ b24, portal: await known() });
    calls.length = 0;
    const plan = await plugin.plan({ b24, portal: await known() });
    assert.deepEqual(plan, [
      { kind: "robots", id: "new", action: "add", why: "not registered" },
      { kind: "robots", id: "rate", action: "remove", why: "not declared" },
      { kind: "triggers", id: "paid", action: "keep", why: "registered" },
    ]);
    assert.deepEqual(calls.filter((method) => CHANGES.test(method)), []);
  });
});

describe("registrations() in an app", () => {
  const declare = (version: string): Declaration => ({
    placements: [{ placement: "LEFT_MENU", handler: `${URL_}/menu`, title: `Version ${version}` }],
    robots: version === "2.0.0" ? [] : ALL.robots!,
    connectors: version === "2.0.0" ? ALL.connectors! : [],
  });

  it("applies the declaration at an installation, and that of each version before its upgrades", async () => {
    const { portal, app } = await scene(declare);
    assert.deepEqual(there(portal.registrations()), ["connectors us", "placements LEFT_MENU"]);
    await portal.sends.update(3, { dropRegistrations: "bizproc" });
    assert.deepEqual(there(portal.registrations()), ["placements LEFT_MENU", "robots rate"]);
    assert.equal(portal.registrations().placements[0]!.TITLE, "Version 3.0.0");
    await app.close();
  });

  it("repairs drift at a check of the portal, and reports it", async () => {
    const { portal, app } = await scene(ALL);
    assert.deepEqual((await app.check(MEMBER_ID)).problems, []);
    portal.dropRegistrations("bizproc");
    const { problems } = await app.check(MEMBER_ID);
    assert.deepEqual(problems.map(({ code, message }) => [code, message]), [
      ["registrations", "robots rate: not registered; repaired"],
      ["registrations", "activities wait: not registered; repaired"],
      ["registrations", "messageSenders sms: not registered; repaired"],
    ]);
    assert.deepEqual((await app.portal(MEMBER_ID))?.findings?.problems, problems);
    assert.deepEqual(there(portal.registrations()), WHOLE);
    assert.deepEqual((await app.check(MEMBER_ID)).problems, []);
    assert.equal((await app.portal(MEMBER_ID))?.findings, undefined);
    await app.close();
  });

  it("reports drift without repairing it with repair: false", async () => {
    const { portal, app } = await scene({ triggers: ALL.triggers! }, { repair: false });
    portal.dropRegistrations();
    for (let i = 0; i < 2; i++) {
      const { problems } = await app.check(MEMBER_ID);
      assert.deepEqual(problems.map(({ message }) => message), ["triggers paid: not registered"]);
    }
    assert.deepEqual(there(portal.registrations()), []);
    await app.close();
  });

  it("blocks the portal on a missing scope until it is granted", async () => {
    const { portal, app } = await scene({ robots: ALL.robots! }, { scope: ["crm"] });
    const blockedOn = async (): Promise<string | undefined> => (await app.portal(MEMBER_ID))?.blocked?.on;
    assert.equal(await blockedOn(), "scope");
    portal.grant("bizproc");
    await portal.sends.update(3);
    assert.deepEqual([await blockedOn(), there(portal.registrations())], [undefined, ["robots rate"]]);
    await app.close();
  });
});

describe("registrations() refuses", () => {
  const handler = `${URL_}/x`;
  const cases: Readonly<Record<string, readonly [declaration: unknown, message: RegExp]>> = {
    "an unknown kind": [{ robot: [] }, /declaration: unknown "robot", wanted events, placements, robots, activities, /],
    "an unknown field": [
      { triggers: [{ code: "a", name: "A", colour: "red" }] },
      /triggers\.0: unknown "colour", wanted code, name$/,
    ],
    "a handler without https": [
      { placements: [{ placement: "LEFT_MENU", handler: "http://app.example.com/" }] },
      /placements\.0\.handler: .*https/,
    ],
    "an invalid handler": [{ robots: [{ code: "a", handler: "/x", name: "A" }] }, /robots\.0\.handler/],
    "a handler of 180 characters": [
      { events: [{ event: "ONAPPTEST", handler: `https://app.example.com/${"x".repeat(156)}` }] },
      /events\.0\.handler: wanted fewer than 180 characters/,
    ],
    "an event without a handler that is not offline": [{ events: [{ event: "ONAPPTEST" }] }, /events\.0\.handler/],
    "an event in lower case": [{ events: [{ event: "onAppTest", handler }] }, /events\.0\.event: .*upper case/],
    "an empty code": [{ messageSenders: [{ code: "", handler, name: "A" }] }, /messageSenders\.0\.code/],
    "a code with a space": [{ robots: [{ code: "a b", handler, name: "A" }] }, /robots\.0\.code/],
    "the same code twice": [
      { triggers: [{ code: "a", name: "A" }, { code: "a", name: "B" }] },
      /triggers\.1: a is declared twice/,
    ],
    "one handler for two user field types": [
      { userFieldTypes: [{ type: "a", handler, title: "A" }, { type: "b", handler, title: "B" }] },
      /userFieldTypes\.1\.handler: wanted a handler that no other type has/,
    ],
  };
  for (const [name, [declaration, message]] of Object.entries(cases)) {
    it(name, () => {
      assert.throws(() => registrations(declaration as Declaration), (error: Error) => {
        assert.equal(error.name, "TypeError");
        assert.match(error.message, /^cannot declare registrations: /);
        assert.match(error.message, message);
        return true;
      });
    });
  }

  it("an invalid declaration of a function, with a NonRetriableError", async () => {
    const { b24, known } = await scene();
    const plugin = registrations(() => ({ triggers: [{ code: "", name: "A" }] }));
    await assert.rejects(plugin.plan({ b24, portal: await known() }), {
      name: "NonRetriableError",
      message: /triggers\.0\.code/,
    });
  });

  it("no handler of 179 characters", () => {
    registrations({ events: [{ event: "ONAPPTEST", handler: `https://app.example.com/${"x".repeat(155)}` }] });
  });
});
