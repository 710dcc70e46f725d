import assert from "node:assert/strict";
import type { App, PluginHost, PortalCount, StuckGroup } from "@b24/onappupdate";
import { type HasB24, rest } from "@b24/onappupdate/rest";
import { telemetry } from "@b24/onappupdate/telemetry";
import { blockedFigures, createFigureReader, portalFigures } from "../../../../plugins/telemetry/figures.ts";
import { MEMBER_ID, post, quietLogger, recordingLogger, rig } from "../../../support/app.ts";
import { type InMemorySdk, inMemorySdk, type Point } from "../../../support/otel.ts";
import { afterEach, beforeEach, describe, it } from "../../../support/test.ts";

let sdk: InMemorySdk;

/** Returns the points of a metric, by their attributes as text; of a histogram, the number of values. */
async function valuesOf(name: string): Promise<Record<string, number>> {
  const points: readonly Point[] = (await sdk.points()).get(name) ?? [];
  const text = (attributes: Point["attributes"]): string =>
    Object.entries(attributes).map(([name, value]) => `${name.replace("b24.", "")}=${value}`).sort().join(" ");
  return Object.fromEntries(
    points.map(({ attributes, value }) => [text(attributes), typeof value === "number" ? value : value.count]),
  );
}

describe("metrics of telemetry()", () => {
  beforeEach(() => void (sdk = inMemorySdk()));
  afterEach(() => sdk.close());

  function tracedApp(extend: (app: App<HasB24>) => unknown = () => {}): ReturnType<typeof rig> {
    const made = rig({ logger: quietLogger });
    extend(made.app.use(telemetry()).use(rest()));
    return made;
  }

  it("count events, deliveries, runs, upgrades, steps and calls by outcome", async () => {
    const { app, portal, send, later } = tracedApp((app) => {
      let failures = 1;
      app.upgrade("3", ({ step, b24 }) =>
        step("one", async () => {
          if (failures-- > 0) throw new Error("not yet");
          await b24.call("crm.deal.list");
        }));
    });
    portal.answer("crm.deal.list", () => []);
    await send(portal.install(2));
    const update = portal.update(3);
    await send(update);
    await send("event=ONMADEUP&ts=1");
    later();
    await app.tick();
    await send(update);
    assert.deepEqual(await valuesOf("b24.events"), {
      "event=ONAPPINSTALL outcome=postponed": 1,
      "event=ONAPPINSTALL outcome=accepted": 1,
      "event=ONAPPUPDATE outcome=accepted": 1,
      "event=ONAPPUPDATE outcome=duplicate": 1,
      "outcome=refused": 1,
    });
    assert.deepEqual(await valuesOf("b24.deliveries"), {
      "event=ONAPPINSTALL outcome=handled": 1,
      "error.type=upgrade event=ONAPPUPDATE outcome=failed": 1,
      "event=ONAPPUPDATE outcome=handled": 1,
    });
    assert.deepEqual(await valuesOf("b24.runs"), { "error.type=upgrade outcome=failed": 1, "outcome=finished": 1 });
    assert.deepEqual(await valuesOf("b24.upgrades"), {
      "error.type=upgrade outcome=failed upgrade.id=3": 1,
      "outcome=finished upgrade.id=3": 1,
    });
    const steps = { "error.type=other outcome=failed": 1, "outcome=finished": 1 };
    assert.deepEqual(await valuesOf("b24.steps"), steps);
    assert.deepEqual(await valuesOf("b24.step.duration"), steps);
    assert.deepEqual(await valuesOf("b24.event.lag"), { "stage=received": 2, "stage=handled": 2 });
    const calls = await valuesOf("b24.call.duration");
    assert.equal(calls["call.to=portal http.request.method=POST http.response.status_code=200"]! > 0, true);
    const requests = await valuesOf("b24.request.duration");
    assert.deepEqual(Object.keys(requests).sort(), [
      "http.request.method=POST http.response.status_code=200",
      "http.request.method=POST http.response.status_code=400",
    ]);
    const verified = await valuesOf("b24.verifications");
    assert.equal(verified["outcome=verified stage=later"], 1);
    assert.equal(verified["outcome=postponed stage=received"], 1);
    assert(Object.keys(await valuesOf("b24.storage.duration")).includes("storage.operation=get"));
    await app.close();
  });

  it("show portals by version and state, blocked ones by reason, the outbox, and the last tick", async () => {
    const { app, portal, send } = tracedApp((app) => app.upgrade("4", () => {}));
    await send(portal.install(2));
    await app.tick();
    await app.settled();
    assert.deepEqual(await valuesOf("b24.portals"), { "state=current version=2.0.0": 1 });
    assert.deepEqual(await valuesOf("b24.portals.blocked"), {});
    assert.deepEqual(await valuesOf("b24.outbox.messages"), { "outbox.state=waiting": 0, "outbox.state=dead": 0 });
    assert.equal((await valuesOf("b24.verification.budget"))[""]! <= 600, true);
    assert.deepEqual(await valuesOf("b24.schedule.lag"), { "": 0 });
    await app.close();
  });

  it("show 0 for a version and a state that portals no longer have", async () => {
    const { app, portal, send, later } = tracedApp((app) => app.upgrade("3", () => {}));
    await send(portal.install(2));
    await app.tick();
    await app.settled();
    assert.deepEqual(await valuesOf("b24.portals"), { "state=current version=2.0.0": 1 });
    await send(portal.update(3));
    later();
    await app.tick();
    await app.settled();
    assert.deepEqual(await valuesOf("b24.portals"), {
      "state=current version=2.0.0": 0,
      "state=current version=3.0.0": 1,
    });
    await app.close();
  });

  it("have neither a portal, nor a domain, nor the name of a step or of a made-up event", async () => {
    const { app, portal, send, bitrix24 } = tracedApp((app) =>
      app.upgrade("3", ({ step }) => step("secret-step", () => {}))
    );
    await send(portal.install(2));
    await send(portal.update(3));
    await send(portal.event("ONMADEUPBYANYBODY", {}));
    await app.fetch(new Request("http://localhost/", { method: "MADEUP" }));
    bitrix24.outage();
    await send(bitrix24.portal({ memberId: "74ef8a46a75104de55d5d4a61b98ab6d" }).install(2));
    await app.tick();
    const all = JSON.stringify([...await sdk.points()]);
    for (const text of [MEMBER_ID, "74ef8a46a75104de55d5d4a61b98ab6d", portal.domain, "secret-step", "MADEUP"]) {
      assert(!all.includes(text), text);
    }
    await app.close();
  });

  it("end with the app", async () => {
    const { app } = tracedApp();
    await app.fetch(post(""));
    await app.tick();
    await app.close();
    await sdk.points();
    assert.deepEqual(await valuesOf("b24.verification.budget"), {});
  });
});

describe("createFigureReader()", () => {
  const page = { items: [] };

  it("reads at most once a minute, sums causes by reason, and keeps the last figures if the storage fails", async () => {
    let now = 1_785_300_000_000;
    let reads = 0;
    let isDown = false;
    const { logger, lines } = recordingLogger();
    const admin = {
      counts: () =>
        isDown ? Promise.reject(new Error("down")) : Promise.resolve([{ status: "current", count: ++reads }]),
      stuck: () =>
        Promise.resolve([
          { status: "blocked", blockedOn: "scope", count: 2 },
          { status: "blocked", blockedOn: "scope", count: 3 },
          { status: "parked", count: 1 },
        ]),
      outbox: { list: () => Promise.resolve(page) },
    };
    const reader = createFigureReader({ admin, clock: () => now, log: logger } as unknown as PluginHost);
    assert.equal(reader.last(), undefined);
    for (const ms of [0, 30_000, 29_999, 1]) {
      now += ms;
      await reader.refresh();
    }
    assert.equal(reads, 2);
    assert.deepEqual(reader.last()!.blocked, [{ value: 5, attributes: { "b24.blocked_on": "scope" } }]);
    // The clock was put back.
    now -= 3_600_000;
    await reader.refresh();
    assert.equal(reads, 3);
    isDown = true;
    now += 60_000;
    await reader.refresh();
    assert.equal(reader.last()!.portals[0]!.value, 3);
    assert.deepEqual(lines.map((line) => JSON.parse(line).event), ["telemetry.figures_failed"]);
  });
});

describe("blockedFigures()", () => {
  it("count all blocked portals, also those of causes that are too many to be listed", () => {
    const counts: readonly PortalCount[] = [
      { version: "1.0.0", status: "blocked", count: 4 },
      { version: "2.0.0", status: "blocked", count: 5 },
      { version: "2.0.0", status: "parked", count: 1000 },
    ];
    const scope = { "b24.blocked_on": "scope" };
    const groups: readonly StuckGroup[] = [
      { status: "parked", count: 1000 },
      { status: "blocked", blockedOn: "scope", count: 6 },
    ];
    assert.deepEqual(blockedFigures(counts, groups), [
      { value: 6, attributes: scope },
      { value: 3, attributes: { "b24.blocked_on": "other" } },
    ]);
    assert.deepEqual(blockedFigures(counts.slice(1), groups), [{ value: 6, attributes: scope }]);
  });
});

describe("portalFigures()", () => {
  it("names the 20 most frequent versions, and counts the portals of all others together", () => {
    const counts: PortalCount[] = Array.from({ length: 25 }, (_, n) => ({
      ...{ version: `${n}.0.0`, status: "current", count: n + 1 },
    }));
    const figures = portalFigures([...counts, { status: "blocked", count: 100 }, {
      version: "0.0.0",
      status: "parked",
      count: 1,
    }]);
    const versions = figures.map(({ attributes }) => attributes["b24.version"]);
    assert.equal(new Set(versions).size, 22);
    const countOf = (version: string, state: string): number | undefined =>
      figures.find(({ attributes }) => attributes["b24.version"] === version && attributes["b24.state"] === state)
        ?.value;
    assert.equal(countOf("24.0.0", "current"), 25);
    assert.equal(countOf("other", "current"), 1 + 2 + 3 + 4 + 5);
    assert.equal(countOf("other", "parked"), 1);
    assert.equal(countOf("unknown", "blocked"), 100);
  });
});
