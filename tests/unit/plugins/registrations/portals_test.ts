import assert from "node:assert/strict";
import { B24Error, createApp, memoryStorage, type Portal } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import {
  type BatchOutcome,
  type Declaration,
  type HasB24Batch,
  registrations,
  type RegistrationTarget,
} from "@b24/onappupdate/registrations";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24, type FakePortal } from "@b24/onappupdate/testing";
import { CLIENT_ID, MEMBER_ID, quietLogger, recordingLogger } from "../../../support/app.ts";
import { checkCall } from "../../../support/rest_spec.ts";
import { describe, it } from "../../../support/test.ts";

const URL_ = "https://app.example.com/b24";
const EVENT = { event: "ONCRMDEALADD", handler: `${URL_}/events` };
const PORTAL: Portal = {
  memberId: MEMBER_ID,
  domain: "example.bitrix24.de",
  status: "installed",
  generation: 1,
  version: "2.0.0",
  target: "2.0.0",
  applied: [],
  receivesTokens: true,
} as Partial<Portal> as Portal;

interface Answers {
  /** Answer of a method. @default true, or an empty list for methods that list */
  readonly [method: string]: unknown;
}

interface Scripted extends RegistrationTarget {
  /** Calls that change something: the method, and its parameters as JSON. */
  readonly changes: string[];
}

/** Returns a portal with the given answers. It checks every call against the documentation. */
function portalThat(answers: Answers): Scripted {
  const changes: string[] = [];
  const batch: HasB24Batch["b24"]["batch"] = (commands) =>
    Promise.resolve(Object.fromEntries(
      Object.entries(commands).map(([name, [method, params = {}]]): [string, BatchOutcome] => {
        checkCall(method, params);
        if (!/\.(list|get)$/.test(method)) changes.push(`${method} ${JSON.stringify(params)}`);
        const value = method in answers ? answers[method] : /\.(list|get)$/.test(method) ? [] : true;
        return [name, value instanceof B24Error ? { ok: false, error: value } : { ok: true, value }];
      }),
    ));
  return { b24: { batch }, portal: PORTAL, changes };
}

function refusal(code: string, description: string, method: string): B24Error {
  return new B24Error({ code, description, status: 400, method });
}

const methodsOf = ({ changes }: Scripted): string[] => changes.map((change) => change.split(" ")[0]!);

/** Returns the messages of a check. */
async function check(declaration: Declaration, { b24, portal }: Scripted): Promise<readonly string[]> {
  const logger = quietLogger;
  return await registrations(declaration).check!({ b24, portal, log: logger } as never);
}

interface Installed extends RegistrationTarget {
  readonly fake: FakePortal;
  readonly close: () => Promise<void>;
}

/** Returns a fake portal on which the app is installed. */
async function installed(): Promise<Installed> {
  const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID, clock: Date.now });
  const fake = bitrix24.portal({ memberId: MEMBER_ID, scope: ["crm", "placement", "bizproc", "imopenlines"] });
  const portals = rest({ rate: { burst: 10_000, perSecond: 1000 }, attempts: 1 });
  const app = createApp({
    storage: memoryStorage(),
    clientId: CLIENT_ID,
    clientSecret: "client-secret-0123456789abcdef",
    fetch: bitrix24.fetch,
    acknowledge: "handled",
    tickEveryMs: false,
    checks: false,
    logger: quietLogger,
  }).use(applicationToken()).use(portals);
  await app.start();
  bitrix24.deliverTo(app.fetch);
  await fake.sends.install(2);
  const portal = (await app.portal(MEMBER_ID))!;
  const b24 = portals.portal(MEMBER_ID);
  return { fake, portal, close: app.close, b24: { batch: (commands, options) => b24.batch(commands, options) } };
}

describe("checkCall(), which these tests use, refuses", () => {
  const robot = { CODE: "rate", HANDLER: `${URL_}/rate`, NAME: "Rate" };
  const fields = { HANDLER: robot.HANDLER, NAME: { de: "Bewerten" } };
  const cases: Readonly<Record<string, readonly [method: string, params: object, message: RegExp]>> = {
    "an undocumented method": ["bizproc.robot.drop", {}, /unknown method bizproc\.robot\.drop/],
    "a missing parameter": ["bizproc.robot.add", { ...robot, NAME: undefined }, /NAME is missing/],
    "a missing field of a parameter": [
      "bizproc.robot.update",
      { CODE: "rate", FIELDS: { NAME: "A" } },
      /HANDLER is missing/,
    ],
    "a wrong type": ["bizproc.robot.add", { ...robot, AUTH_USER_ID: "1" }, /AUTH_USER_ID is not of the type integer/],
    "an object of languages for a string": [
      "bizproc.robot.add",
      { ...robot, CODE: { de: "a" } },
      /CODE is not of the type string/,
    ],
    "an unknown parameter": ["bizproc.robot.add", { ...robot, COLOR: "red" }, /COLOR is unknown/],
    "a wrong type in a method of its own table": [
      "placement.bind",
      { PLACEMENT: "A", HANDLER: URL_, USER_ID: "1" },
      /USER_ID/,
    ],
    "an online event without a handler": ["event.unbind", { event: "ONAPPTEST", handler: "" }, /handler is missing/],
  };
  for (const [name, [method, params, message]] of Object.entries(cases)) {
    it(name, () => assert.throws(() => checkCall(method, params), message));
  }

  it("no documented call", () => {
    checkCall("bizproc.robot.add", robot);
    checkCall("bizproc.robot.update", { CODE: "rate", FIELDS: fields });
    checkCall("event.unbind", { event: "ONAPPTEST", handler: "", event_type: "offline" });
  });
});

describe("registrations() and one handler for several users", () => {
  it("unbinds the event without a user, and keeps that of the declared user", async () => {
    const at = await installed();
    await registrations({ events: [EVENT, { ...EVENT, userId: 1 }] }).apply(at);
    await registrations({ events: [{ ...EVENT, userId: 1 }] }).apply(at);
    assert.deepEqual(at.fake.registrations().events.map(({ AUTH_TYPE }) => AUTH_TYPE), ["1"]);
    await at.close();
  });

  it("unbinds the placement for everybody, and keeps that of the declared user", async () => {
    const at = await installed();
    const place = (title: string, userId?: number) => ({
      placement: "PAGE_BACKGROUND_WORKER",
      handler: `${URL_}/worker`,
      title,
      ...(userId === undefined ? {} : { userId }),
    });
    const users = (): unknown[] => at.fake.registrations().placements.map(({ USER_ID = "0" }) => USER_ID).sort();
    await registrations({ placements: [place("All"), place("One", 1)] }).apply(at);
    await registrations({ placements: [place("Everybody"), place("One", 1)] }).apply(at);
    assert.deepEqual(users(), ["0", "1"]);
    await registrations({ placements: [place("One", 1)] }).apply(at);
    assert.deepEqual(users(), ["1"]);
    await at.close();
  });

  it("keeps an event that is bound as a user, unless another user is declared", async () => {
    const listed = { "event.get": [{ ...EVENT, auth_type: "5", offline: 0 }] };
    const at = portalThat(listed);
    await registrations({ events: [EVENT] }).apply(at);
    assert.deepEqual(at.changes, []);
    const other = portalThat(listed);
    await registrations({ events: [{ ...EVENT, userId: 1 }] }).apply(other);
    assert.deepEqual(other.changes, [
      `event.unbind ${JSON.stringify({ ...EVENT, auth_type: 5 })}`,
      `event.bind ${JSON.stringify({ ...EVENT, auth_type: 1 })}`,
    ]);
    const both = portalThat(listed);
    await registrations({ events: [EVENT, { ...EVENT, userId: 5 }] }).apply(both);
    assert.deepEqual(both.changes, [`event.bind ${JSON.stringify(EVENT)}`]);
  });

  // Bitrix24 stores no user for it, and refuses to bind it twice.
  it("identifies an offline event by its name only, not by its user", async () => {
    const offline = { event: "ONCRMDEALADD", offline: true, userId: 1 };
    const at = portalThat({ "event.get": [{ event: "ONCRMDEALADD", connector_id: "", offline: 1 }] });
    await registrations({ events: [offline] }).apply(at);
    assert.deepEqual(at.changes, []);
    const twice = { events: [offline, { event: "ONCRMDEALADD", offline: true }] };
    assert.throws(() => registrations(twice), /events\.1: ONCRMDEALADD offline is declared twice/);
  });

  it("never unbinds an online event that Bitrix24 lists without a handler", async () => {
    const at = portalThat({ "event.get": [{ event: "ONCRMDEALADD", handler: "" }, { event: "ONCRMLEADADD" }] });
    await registrations({ events: [] }).apply(at);
    assert.deepEqual(at.changes, []);
  });
});

describe("registrations() compares placements with Bitrix24's list and", () => {
  const handler = `${URL_}/deal`;
  const shown = {
    placement: "CRM_DEAL_DETAIL_TAB",
    userId: 0,
    handler,
    options: { context: "ALL", role: "USER" },
    title: "Rating",
    description: "Of deals",
    langAll: {
      en: { TITLE: "Rating", DESCRIPTION: "Of deals", GROUP_NAME: "" },
      de: { TITLE: "Bewertung", DESCRIPTION: "", GROUP_NAME: "" },
    },
  };
  const one = (more: object): Declaration => ({
    placements: [{ placement: "CRM_DEAL_DETAIL_TAB", handler, ...more }],
  });
  const REBOUND = ["placement.unbind", "placement.bind"];
  const KEPT: string[] = [];
  const english = { langAll: { en: { TITLE: "Rating", DESCRIPTION: "", GROUP_NAME: "Sales" } } };
  const cases: readonly (readonly [name: string, declared: object, there: object, calls: readonly string[]])[] = [
    ["the required fields only", {}, {}, KEPT],
    ["the same title", { title: " Rating ", description: "Of deals" }, {}, KEPT],
    ["another title", { title: "Stars" }, {}, REBOUND],
    ["another description", { description: "Of leads" }, {}, REBOUND],
    ["the same translations", { params: { LANG_ALL: { de: { TITLE: "Bewertung" } } } }, {}, KEPT],
    ["another translation", { params: { LANG_ALL: { de: { TITLE: "Sterne" } } } }, {}, REBOUND],
    ["another language", { params: { LANG_ALL: { fr: { TITLE: "Note" } } } }, {}, REBOUND],
    // Bitrix24 ignores the title then.
    ["a title beside translations", { title: "Stars", params: { LANG_ALL: { de: { TITLE: "Bewertung" } } } }, {}, KEPT],
    ["translations, if the portal lists none", { params: { LANG_ALL: { de: { TITLE: "X" } } } }, { langAll: [] }, KEPT],
    ["the same group", { params: { GROUP_NAME: "Sales" } }, english, KEPT],
    ["another group", { params: { GROUP_NAME: "Service" } }, english, REBOUND],
    ["the same options", { params: { OPTIONS: { role: "USER" } } }, {}, KEPT],
    ["another option", { params: { OPTIONS: { role: "ADMIN" } } }, {}, REBOUND],
    ["an option that the portal does not list", { params: { OPTIONS: { color: "red" } } }, {}, KEPT],
    [
      "a number that the portal lists as a string",
      { params: { OPTIONS: { width: 5 } } },
      { options: { width: "5" } },
      KEPT,
    ],
    [
      "a boolean that the portal lists as a number",
      { params: { OPTIONS: { wide: true } } },
      { options: { wide: 1 } },
      KEPT,
    ],
  ];
  for (const [name, declared, there, calls] of cases) {
    it(`${calls === KEPT ? "keeps" : "rebinds"} one with ${name}`, async () => {
      const at = portalThat({ "placement.get": [{ ...shown, ...there }] });
      await registrations(one(declared)).apply(at);
      assert.deepEqual(methodsOf(at), calls);
    });
  }

  it("never unbinds placements that belong to other kinds of registrations", async () => {
    const ours = ["SETTING_CONNECTOR", "USERFIELD_TYPE", "BIZPROC_ACTIVITY_PROPERTIES_DIALOG", "DEFAULT"];
    const at = portalThat({
      "placement.get": [...ours, "LEFT_MENU"].map((placement) => ({ placement, userId: 0, handler, title: "" })),
    });
    await registrations({ placements: [] }).apply(at);
    assert.deepEqual(at.changes, [`placement.unbind {"PLACEMENT":"LEFT_MENU","HANDLER":"${handler}","USER_ID":0}`]);
  });
});

describe("registrations() and the answers of a portal", () => {
  const ROBOT = { code: "rate", handler: `${URL_}/rate`, name: "Rate" };
  const CONNECTOR = {
    id: "us",
    name: "Us",
    icon: { DATA_IMAGE: "data:image/svg+xml,x" },
    handler: `${URL_}/connector`,
  };

  it("throws an error that is inside a result, as with open channels", async () => {
    const error = "APPLICATION_REGISTRATION_ERROR";
    const at = portalThat({ "imconnector.register": { result: false, error, error_description: "No" } });
    await assert.rejects(registrations({ connectors: [CONNECTOR] }).apply(at), { name: "B24Error", b24Code: error });
  });

  it("counts a trigger that no longer exists as removed", async () => {
    const at = await installed();
    await registrations({ triggers: [{ code: "paid", name: "Paid" }] }).apply(at);
    const none = registrations({ triggers: [] });
    await Promise.all([1, 2, 3].map(() => none.apply(at)));
    assert.deepEqual(at.fake.registrations().triggers, []);
    await at.close();
  });

  it("throws if a method does not exist", async () => {
    const error = refusal("ERROR_METHOD_NOT_FOUND", "Method not found!", "bizproc.robot.delete");
    const at = portalThat({ "bizproc.robot.list": ["old"], "bizproc.robot.delete": error });
    await assert.rejects(registrations({ robots: [] }).apply(at), { b24Code: "ERROR_METHOD_NOT_FOUND" });
  });

  it("skips kinds that the portal's plan does not include, and reports them", async () => {
    const error = refusal("ERROR_METHOD_NOT_FOUND", "Method not found!", "bizproc.robot.list");
    const at = portalThat({ "bizproc.robot.list": error });
    const declaration: Declaration = { robots: [ROBOT], triggers: [{ code: "paid", name: "Paid" }] };
    const changes = await registrations(declaration).apply(at);
    assert.deepEqual(changes.map(({ kind, action }) => [kind, action]), [["triggers", "add"]]);
    assert.deepEqual(methodsOf(at), ["crm.automation.trigger.add"]);
    const there = portalThat({
      "bizproc.robot.list": error,
      "crm.automation.trigger.list": [{ CODE: "paid", NAME: "Paid" }],
    });
    assert.deepEqual(await check(declaration, there), ["robots: the portal has no bizproc.robot.list"]);
  });

  it("updates a robot that another process has just added", async () => {
    const already = refusal("ERROR_ACTIVITY_ALREADY_INSTALLED", "Already", "bizproc.robot.add");
    const at = portalThat({ "bizproc.robot.add": already });
    await registrations({ robots: [ROBOT] }).apply(at);
    assert.deepEqual(methodsOf(at), ["bizproc.robot.add", "bizproc.robot.update"]);
  });

  it("does not mistake an activity of the same code for the robot", async () => {
    const at = await installed();
    await registrations({ activities: [ROBOT] }).apply(at);
    await assert.rejects(registrations({ robots: [ROBOT] }).apply(at), { b24Code: "ERROR_ACTIVITY_ALREADY_INSTALLED" });
    await registrations({ activities: [], robots: [ROBOT] }).apply(at);
    assert.deepEqual(at.fake.registrations().activities, []);
    assert.equal(at.fake.registrations().robots.length, 1);
    await at.close();
  });

  it("compares only the name of a connector, because no more is listed", async () => {
    const at = portalThat({ "imconnector.list": { livechat: "Live chat", us: "Us" } });
    assert.deepEqual(await check({ connectors: [CONNECTOR] }, at), []);
    assert.deepEqual(at.changes, []);
    assert.equal((await check({ connectors: [{ ...CONNECTOR, name: "We" }] }, at)).length, 1);
    assert.deepEqual(methodsOf(at), ["imconnector.register"]);
  });

  it("does not report a refused registration as repaired", async () => {
    const at = portalThat({
      "bizproc.robot.add": refusal("ERROR_WRONG_HANDLER_URL", "Wrong handler URL", "bizproc.robot.add"),
    });
    const [robot, trigger, error, ...others] = await check({
      robots: [ROBOT],
      triggers: [{ code: "paid", name: "Paid" }],
    }, at);
    assert.deepEqual([robot, trigger], ["robots rate: not registered", "triggers paid: not registered; repaired"]);
    assert.match(error!, /ERROR_WRONG_HANDLER_URL/);
    assert.deepEqual(others, []);
  });

  it("sends fields of a user field type that are not listed at each run", async () => {
    const type = { type: "stars", handler: `${URL_}/stars`, title: "Stars" };
    const listed = { USER_TYPE_ID: "stars", HANDLER: type.handler, TITLE: "Stars", DESCRIPTION: "" };
    const at = portalThat({ "userfieldtype.list": [listed] });
    await registrations({ userFieldTypes: [type] }).apply(at);
    assert.deepEqual(at.changes, []);
    const sized = { userFieldTypes: [{ ...type, params: { OPTIONS: { height: 90 } } }] };
    assert.deepEqual(await check(sized, at), []);
    await registrations(sized).apply(at);
    assert.deepEqual(methodsOf(at), ["userfieldtype.update"]);
  });

  it("sends booleans of robots as Y and N", async () => {
    const at = portalThat({});
    const params = { USE_SUBSCRIPTION: false, USE_PLACEMENT: true, PLACEMENT_HANDLER: `${URL_}/settings` };
    await registrations({ robots: [{ ...ROBOT, params }] }).apply(at);
    assert.match(at.changes[0]!, /"USE_SUBSCRIPTION":"N","USE_PLACEMENT":"Y"/);
  });

  it("calls a function for the previous version only if connectors are declared", async () => {
    const at = { ...portalThat({}), portal: { ...PORTAL, target: "3.0.0" } };
    const asked: string[] = [];
    const declare = (declaration: Declaration) => (version: string): Declaration => {
      asked.push(version);
      return declaration;
    };
    await registrations(declare({ triggers: [] })).apply(at);
    await registrations(declare({ connectors: [] })).apply(at);
    assert.deepEqual(asked, ["3.0.0", "3.0.0", "2.0.0"]);
  });

  it("shows handlers without their query, which may contain a secret", async () => {
    const secret = { events: [{ ...EVENT, handler: `${URL_}/events?secret=zyxwvuts` }] };
    const at = portalThat({});
    const seen = [...await registrations(secret).plan(at), ...await check(secret, at)];
    assert.equal(seen.length, 2);
    assert.doesNotMatch(JSON.stringify(seen), /zyxwvuts/);
    assert.match(at.changes[0]!, /zyxwvuts/);
  });

  it("reports refusals without the secrets of the handlers that they quote", async () => {
    const quoted = "Invalid handler https://me:zyxwvuts@app.example.com/b24?k=zyxwvuts#zyxwvuts";
    const at = portalThat({ "event.bind": refusal("ERROR_HANDLER", quoted, "event.bind") });
    const problems = (await check({ events: [EVENT] }, at)).join();
    assert.match(problems, /Invalid handler …@app\.example\.com\/b24\?…/);
    assert.doesNotMatch(problems, /zyxwvuts/);
  });

  it("logs the refusals that it does not throw", async () => {
    const at = portalThat({
      "event.bind": refusal("ERROR_EVENT_NOT_FOUND", "Event not found", "event.bind"),
      "bizproc.robot.list": refusal("insufficient_scope", "No", "bizproc.robot.list"),
    });
    const { logger, lines } = recordingLogger();
    const ctx = { event: { name: "ONAPPUPDATE" }, portal: PORTAL, b24: at.b24, log: logger };
    const plugin = registrations({ events: [EVENT], robots: [ROBOT], triggers: [{ code: "paid", name: "Paid" }] });
    let isNext = false;
    const running = plugin.around!(ctx as never, () => Promise.resolve(void (isNext = true)));
    await assert.rejects(running, { b24Code: "ERROR_EVENT_NOT_FOUND" });
    assert.equal(isNext, false);
    const all = lines.join("\n");
    assert.match(all, /ERROR_EVENT_NOT_FOUND/);
    assert.match(all, /insufficient_scope/);
    assert.deepEqual(methodsOf(at), ["event.bind", "crm.automation.trigger.add"]);
  });
});

describe("registrations() refuses declarations that Bitrix24 would store differently:", () => {
  const handler = `${URL_}/x`;
  const icon = { DATA_IMAGE: "data:image/svg+xml,x" };
  const cases: Readonly<Record<string, readonly [declaration: Declaration, message: RegExp]>> = {
    "a user field type in upper case": [
      { userFieldTypes: [{ type: "Stars", handler, title: "Stars" }] },
      /userFieldTypes\.0\.type: wanted lower case, saw "Stars"/,
    ],
    "a connector in upper case": [
      { connectors: [{ id: "Us", name: "Us", icon, handler }] },
      /connectors\.0\.id: wanted lower case, saw "Us"/,
    ],
    "a connector with a dot": [
      { connectors: [{ id: "a.b", name: "Us", icon, handler }] },
      /connectors\.0\.id: wanted no dots/,
    ],
    "a robot and an activity with the same code": [
      { robots: [{ code: "a", handler, name: "A" }], activities: [{ code: "a", handler, name: "A" }] },
      /activities\.0: a is also the code of a robot/,
    ],
    "a parameter for which the declaration has a field": [
      { robots: [{ code: "a", handler, name: "A", params: { CODE: "b" } }] },
      /robots\.0\.params\.CODE: wanted in its own field/,
    ],
    "a parameter in lower case": [
      { placements: [{ placement: "LEFT_MENU", handler, params: { options: {} } }] },
      /placements\.0\.params\.options: wanted a name in upper case/,
    ],
    "an invalid second handler": [
      { robots: [{ code: "a", handler, name: "A", params: { PLACEMENT_HANDLER: "http://app.example.com" } }] },
      /robots\.0\.params\.PLACEMENT_HANDLER: wanted an https URL/,
    ],
    "a handler, without its query in the message": [
      { events: [{ event: "ONAPPTEST", handler: "http://app.example.com/b24?secret=zyxwvuts" }] },
      /events\.0\.handler: .*https:\/\/, saw "http:\/\/app\.example\.com\/b24\?…"$/,
    ],
    "a handler, without its user, password and fragment in the message": [
      { events: [{ event: "ONAPPTEST", handler: "http://me:pa55@app.example.com/b24#auth=zyxwvuts" }] },
      /events\.0\.handler: .*https:\/\/, saw "…@app\.example\.com\/b24#…"$/,
    ],
  };
  for (const [name, [declaration, message]] of Object.entries(cases)) {
    it(name, () => {
      assert.throws(() => registrations(declaration), { name: "TypeError", message });
    });
  }
});
