import assert from "node:assert/strict";
import type { FakeRegistrations } from "@b24/onappupdate/testing";
import { assertError, type FakeSetup, fakeSetup } from "../../../support/fake.ts";
import { describe, it } from "../../../support/test.ts";

const HANDLER = "https://app.example/b24";
const SCOPE = ["crm", "placement", "bizproc", "messageservice", "imopenlines"];
const ALREADY_PLACED = "Unable to set placement handler: Handler already binded";

interface Kind {
  readonly kind: keyof FakeRegistrations;
  readonly add: readonly [method: string, params: object];
  readonly list: readonly [method: string, result: unknown];
  readonly empty?: unknown;
  /** Error of adding it twice. */
  readonly again: readonly [status: number, code: string, description: string] | "upsert";
  readonly remove: readonly [method: string, params: object, result: unknown];
  /** Error of removing it twice. */
  readonly gone: readonly [code: string, description: string] | { readonly result: unknown };
  readonly required: readonly (readonly [parameter: string, code: string, description: string])[];
  readonly forAnybody?: true;
}

const robot = (name: "robot" | "activity", kind: "robots" | "activities"): Kind => ({
  kind,
  add: [`bizproc.${name}.add`, { CODE: "move", HANDLER, NAME: "Moves" }],
  list: [`bizproc.${name}.list`, ["move"]],
  again: [400, "ERROR_ACTIVITY_ALREADY_INSTALLED", "Activity or Robot already installed!"],
  remove: [`bizproc.${name}.delete`, { CODE: "move" }, true],
  gone: ["ERROR_ACTIVITY_NOT_FOUND", "Activity or Robot not found!"],
  required: [
    ["CODE", "ERROR_ACTIVITY_VALIDATION_FAILURE", "Empty activity code!"],
    ["HANDLER", "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"],
    ["NAME", "ERROR_ACTIVITY_VALIDATION_FAILURE", "Empty activity NAME!"],
  ],
});

const KINDS: readonly Kind[] = [
  {
    kind: "events",
    add: ["event.bind", { event: "OnCrmDealAdd", handler: HANDLER }],
    list: ["event.get", [{ event: "ONCRMDEALADD", handler: HANDLER, auth_type: "0", offline: 0 }]],
    again: [400, "ERROR_CORE", "Unable to set event handler: Handler already binded"],
    remove: ["event.unbind", { event: "ONCRMDEALADD", handler: HANDLER }, { count: 1 }],
    gone: { result: { count: 0 } },
    required: [
      ["event", "ERROR_ARGUMENT", "Argument 'EVENT' is null or empty"],
      ["handler", "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"],
    ],
  },
  {
    kind: "placements",
    add: ["placement.bind", { PLACEMENT: "CRM_DEAL_DETAIL_TAB", HANDLER, TITLE: "Tab", OPTIONS: {} }],
    list: ["placement.get", [{
      placement: "CRM_DEAL_DETAIL_TAB",
      userId: 0,
      handler: HANDLER,
      options: [],
      title: "Tab",
      description: "",
      langAll: [],
    }]],
    again: [400, "ERROR_CORE", ALREADY_PLACED],
    remove: ["placement.unbind", { PLACEMENT: "CRM_DEAL_DETAIL_TAB" }, { count: 2 }],
    gone: { result: { count: 0 } },
    required: [
      ["PLACEMENT", "ERROR_ARGUMENT", "Argument 'PLACEMENT' is null or empty"],
      ["HANDLER", "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"],
    ],
  },
  robot("robot", "robots"),
  robot("activity", "activities"),
  {
    kind: "senders",
    add: ["messageservice.sender.add", { CODE: "sms", TYPE: "SMS", HANDLER, NAME: "SMS" }],
    list: ["messageservice.sender.list", ["sms"]],
    again: [400, "ERROR_SENDER_ALREADY_INSTALLED", "Sender already installed!"],
    remove: ["messageservice.sender.delete", { CODE: "sms" }, true],
    gone: ["ERROR_SENDER_NOT_FOUND", "Sender not found!"],
    required: [
      ["CODE", "ERROR_SENDER_VALIDATION_FAILURE", "Empty sender code!"],
      ["HANDLER", "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"],
      ["NAME", "ERROR_SENDER_VALIDATION_FAILURE", "Empty sender NAME!"],
      ["TYPE", "ERROR_SENDER_VALIDATION_FAILURE", "Empty sender message TYPE!"],
    ],
  },
  {
    kind: "userFieldTypes",
    add: ["userfieldtype.add", { USER_TYPE_ID: "colour", HANDLER, TITLE: "Colour" }],
    list: ["userfieldtype.list", [{ DESCRIPTION: "", HANDLER, TITLE: "Colour", USER_TYPE_ID: "colour" }]],
    again: [400, "ERROR_CORE", ALREADY_PLACED],
    remove: ["userfieldtype.delete", { USER_TYPE_ID: "colour" }, true],
    gone: ["ERROR_NOT_FOUND", "User Field Type not found"],
    required: [
      ["USER_TYPE_ID", "ERROR_ARGUMENT", "Argument 'USER_TYPE_ID' is null or empty"],
      ["HANDLER", "ERROR_ARGUMENT", "Argument 'HANDLER' is null or empty"],
    ],
  },
  {
    kind: "connectors",
    add: ["imconnector.register", { ID: "chat", NAME: "Chat", ICON: { DATA_IMAGE: "" }, PLACEMENT_HANDLER: HANDLER }],
    list: ["imconnector.list", { livechat: "Live chat", chat: "Chat" }],
    empty: { livechat: "Live chat" },
    again: "upsert",
    remove: ["imconnector.unregister", { ID: "chat" }, true],
    gone: { result: true },
    required: ["ID", "NAME", "ICON", "PLACEMENT_HANDLER"].map((
      name,
    ) => [name, "ERROR_ARGUMENT", `Argument '${name}' is null or empty`]),
    forAnybody: true,
  },
  {
    kind: "triggers",
    add: ["crm.automation.trigger.add", { CODE: "called", NAME: "Called" }],
    list: ["crm.automation.trigger.list", [{ NAME: "Called", CODE: "called" }]],
    again: "upsert",
    remove: ["crm.automation.trigger.delete", { CODE: "called" }, true],
    gone: ["", "Trigger not found"],
    required: [["CODE", "", "Empty trigger code!"], ["NAME", "", "Empty trigger name!"]],
  },
];

async function registered(): Promise<FakeSetup> {
  const made = fakeSetup({}, { scope: SCOPE });
  for (const { add: [method, params], kind } of KINDS) {
    // Robots and activities share their codes.
    const own = kind === "activities" ? { ...params, CODE: "act" } : params;
    assert.equal((await made.call(method, own)).status, 200, method);
  }
  return made;
}

const counts = ({ portal }: FakeSetup): Record<string, number> =>
  Object.fromEntries(Object.entries(portal.registrations()).map(([kind, all]) => [kind, all.length]));
const ONE = Object.fromEntries(KINDS.map(({ kind }) => [kind, 1]));
const NONE = Object.fromEntries(KINDS.map(({ kind }) => [kind, 0]));

describe("fakeBitrix24() for registrations", () => {
  for (const { kind, add, list, empty = [], again, remove, gone, required, forAnybody } of KINDS) {
    const [addMethod, params] = add;
    it(`adds, lists and removes ${kind}, with the errors of Bitrix24 for repeated and incomplete ones`, async () => {
      const { portal, call } = fakeSetup({}, { scope: SCOPE });
      assert.deepEqual((await call(list[0])).body.result, empty);
      for (const [parameter, code, description] of required) {
        const rest = Object.fromEntries(Object.entries(params).filter(([name]) => name !== parameter));
        assertError(await call(addMethod, rest), 400, code, description);
      }
      assert.deepEqual((await call(addMethod, params)).body.result, true);
      assert.deepEqual((await call(list[0])).body.result, list[1]);
      const twice = await call(addMethod, params);
      if (again === "upsert") assert.equal(twice.body.result, true);
      else assertError(twice, ...again);
      assert.equal(portal.registrations()[kind].length, 1);

      portal.user(2, {});
      const auth = portal.accessToken(2);
      if (!forAnybody) assertError(await call(addMethod, { ...params, auth }), 403, "ACCESS_DENIED", "Access denied!");
      const [removeMethod, which, result] = remove;
      assert.deepEqual((await call(removeMethod, which)).body.result, result);
      assert.deepEqual((await call(list[0])).body.result, empty);
      const removedTwice = await call(removeMethod, which);
      if ("result" in gone) assert.deepEqual(removedTwice.body.result, gone.result);
      else assertError(removedTwice, 400, ...gone);
    });
  }

  it("accepts forms and JSON", async () => {
    const { bitrix24, portal } = fakeSetup({}, { scope: SCOPE });
    const fields = new URLSearchParams({ auth: portal.accessToken(), "OPTIONS[errorHandlerUrl]": HANDLER });
    for (const [key, value] of Object.entries({ PLACEMENT: "PAGE_BACKGROUND_WORKER", HANDLER })) fields.set(key, value);
    await bitrix24.fetch(`https://${portal.domain}/rest/placement.bind`, { method: "POST", body: fields });
    assert.deepEqual(portal.registrations().placements, [
      { PLACEMENT: "PAGE_BACKGROUND_WORKER", HANDLER, OPTIONS: { errorHandlerUrl: HANDLER } },
    ]);
  });

  it("updates registrations, and refuses updates of unknown ones", async () => {
    const { portal, call } = await registered();
    const other = `${HANDLER}/2`;
    for (const name of ["robot", "activity"]) {
      const CODE = name === "robot" ? "move" : "act";
      assert.equal((await call(`bizproc.${name}.update`, { CODE, FIELDS: { handler: other } })).body.result, true);
      assertError(
        await call(`bizproc.${name}.update`, { CODE: "no", FIELDS: { NAME: "n" } }),
        400,
        "ERROR_ACTIVITY_NOT_FOUND",
      );
      assertError(await call(`bizproc.${name}.update`, { CODE }), 400, "ERROR_ACTIVITY_VALIDATION_FAILURE");
    }
    const { robots, activities } = portal.registrations();
    assert.deepEqual([robots[0]!["HANDLER"], robots[0]!["NAME"], activities[0]!["HANDLER"]], [other, "Moves", other]);

    assert.equal((await call("messageservice.sender.update", { CODE: "sms", NAME: "New" })).body.result, true);
    assertError(await call("messageservice.sender.update", { CODE: "no" }), 400, "ERROR_SENDER_NOT_FOUND");
    const type = { USER_TYPE_ID: "colour", HANDLER: other, TITLE: "" };
    assert.equal((await call("userfieldtype.update", type)).body.result, true);
    assertError(await call("userfieldtype.update", { ...type, USER_TYPE_ID: "no", HANDLER }), 400, "ERROR_NOT_FOUND");
    assertError(await call("userfieldtype.update", { ...type, TITLE: undefined }), 400, "ERROR_ARGUMENT");
    const { senders, userFieldTypes } = portal.registrations();
    assert.deepEqual([senders[0]!["NAME"], userFieldTypes[0]!["HANDLER"]], ["New", other]);
  });

  it("refuses two user field types with one handler", async () => {
    const { call } = await registered();
    assertError(await call("userfieldtype.add", { USER_TYPE_ID: "size", HANDLER }), 400, "ERROR_CORE", ALREADY_PLACED);
    const size = { USER_TYPE_ID: "size", HANDLER: `${HANDLER}/size`, TITLE: "" };
    assert.equal((await call("userfieldtype.add", size)).body.result, true);
    assertError(await call("userfieldtype.update", { ...size, HANDLER }), 400, "ERROR_CORE", ALREADY_PLACED);
  });

  it("refuses a robot and an activity with one code", async () => {
    const { call } = await registered();
    const twice = { CODE: "move", HANDLER, NAME: "n" };
    assertError(await call("bizproc.activity.add", twice), 400, "ERROR_ACTIVITY_ALREADY_INSTALLED");
  });

  it("refuses invalid handlers and codes", async () => {
    const { call } = fakeSetup({}, { scope: SCOPE });
    const bind = async (handler: string) => (await call("event.bind", { event: "ONAPPTEST", handler })).body.error;
    assert.equal(await bind("not an address"), "ERROR_WRONG_HANDLER_URL");
    assert.equal(await bind("https://localhost/"), "ERROR_WRONG_HANDLER_URL");
    assert.equal(await bind("ftp://app.example/"), "ERROR_UNSUPPORTED_PROTOCOL");
    const robot = { CODE: "ä", HANDLER, NAME: "n" };
    assertError(
      await call("bizproc.robot.add", robot),
      400,
      "ERROR_ACTIVITY_VALIDATION_FAILURE",
      "Wrong activity code!",
    );
    assertError(await call("crm.automation.trigger.add", robot), 400, "", "Wrong trigger code!");
    assertError(await call("placement.bind", { PLACEMENT: "?", HANDLER }), 400, "ERROR_PLACEMENT_NOT_FOUND");
    const placed = { ...robot, CODE: "a", USE_PLACEMENT: "Y" };
    assertError(await call("bizproc.robot.add", placed), 400, "ERROR_ARGUMENT");
    const sender = { CODE: "a", HANDLER, NAME: "n", TYPE: "FAX" };
    assertError(await call("messageservice.sender.add", sender), 400, "ERROR_SENDER_VALIDATION_FAILURE");
  });

  it("binds one event handler for several users and types, and unbinds those that fit, or all", async () => {
    const { portal, call } = fakeSetup();
    const event = { event: "ONCRMDEALADD", handler: HANDLER };
    const bound = async () => (await call("event.get")).body.result;
    await call("event.bind", event);
    assertError(await call("event.bind", { ...event, auth_type: 0 }), 400, "ERROR_CORE");
    await call("event.bind", { ...event, auth_type: 15 });
    await call("event.bind", { event: "ONCRMDEALADD", handler: HANDLER, event_type: "offline" });
    await call("event.bind", { ...event, event: "ONAPPTEST" });
    assert.deepEqual(await bound(), [
      { event: "ONCRMDEALADD", handler: HANDLER, auth_type: "0", offline: 0 },
      { event: "ONCRMDEALADD", handler: HANDLER, auth_type: "15", offline: 0 },
      { event: "ONCRMDEALADD", connector_id: "", offline: 1 },
      { event: "ONAPPTEST", handler: HANDLER, auth_type: "0", offline: 0 },
    ]);
    const unbind = async (params: object) => (await call("event.unbind", params)).body.result.count;
    assert.equal(await unbind({ ...event, auth_type: 0 }), 1);
    await call("event.bind", event);
    assert.equal(await unbind({ ...event, auth_type: 15 }), 1);
    assert.equal(await unbind({ event: "oncrmdealadd", event_type: "offline" }), 1);
    assert.equal(await unbind({ ...event, handler: `${HANDLER}/other` }), 0);
    assert.equal((await bound()).length, 2);
    assert.equal(await unbind({}), 2);
    assert.deepEqual(portal.registrations().events, []);
  });

  it("binds an offline event for each source, which it reads from a request and not from a command of a batch", async () => {
    const { portal, call } = fakeSetup();
    const event = { event: "ONCRMDEALADD", event_type: "offline" };
    const sources = async () =>
      (await call("event.get")).body.result.map((e: { connector_id: string }) => e.connector_id);
    for (const auth_connector of ["us", "shop"]) await call("event.bind", { ...event, auth_connector });
    assertError(await call("event.bind", { ...event, auth_connector: "us", handler: HANDLER }), 400, "ERROR_CORE");
    await call("batch", { cmd: { a: "event.bind?event=ONCRMDEALADD&event_type=offline&auth_connector=lost" } });
    await call("batch", { auth_connector: "all", cmd: { a: "event.bind?event=ONCRMDEALADD&event_type=offline" } });
    assert.deepEqual(await sources(), ["us", "shop", "", "all"]);
    const unbind = async (params: object) => (await call("event.unbind", { ...event, ...params })).body.result.count;
    assert.equal(await unbind({ auth_connector: "shop" }), 1);
    assert.equal(await unbind({ handler: HANDLER }), 1);
    assert.deepEqual(await sources(), ["us", "all"]);
    assert.deepEqual(portal.registrations().events[0], {
      EVENT: "ONCRMDEALADD",
      AUTH_CONNECTOR: "us",
      EVENT_TYPE: "offline",
    });
  });

  it("binds placements of several users, and lists the available placements", async () => {
    const { call } = fakeSetup();
    const place = { PLACEMENT: "LEFT_MENU", HANDLER, LANG_ALL: { de: { TITLE: "Menü" } } };
    await call("placement.bind", place);
    await call("placement.bind", { ...place, USER_ID: 5 });
    const [first, second] = (await call("placement.get")).body.result;
    assert.deepEqual([first.userId, second.userId, first.langAll], [0, 5, { de: { TITLE: "Menü" } }]);
    assert.deepEqual((await call("placement.unbind", { ...place, USER_ID: 5 })).body.result, { count: 2 });
    assert.equal((await call("placement.get")).body.result.length, 1);
    assert((await call("placement.list")).body.result.includes("LEFT_MENU"));
  });

  it("drops registrations at an update, at a removal, and on demand", async () => {
    const made = await registered();
    const { portal } = made;
    assert.deepEqual(counts(made), ONE);
    portal.update(3);
    assert.deepEqual(counts(made), ONE);
    portal.update(4, { dropRegistrations: "bizproc" });
    assert.deepEqual(counts(made), { ...ONE, robots: 0, activities: 0, senders: 0 });
    portal.update(5, { dropRegistrations: true });
    assert.deepEqual(counts(made), NONE);
    const removed = await registered();
    removed.portal.uninstall();
    assert.deepEqual(counts(removed), NONE);
    const dropped = await registered();
    dropped.portal.dropRegistrations();
    assert.deepEqual(counts(dropped), NONE);
  });
});
