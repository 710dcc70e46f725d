import assert from "node:assert/strict";
import { memoryStorage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { operatorConsole } from "@b24/onappupdate/operator-console";
import { PAGES } from "../../../../plugins/operator_console/pages.ts";
import { portalKey } from "../../../../src/portal/keys.ts";
import type { PortalRecord } from "../../../../src/portal/record.ts";
import { MEMBER_ID, post, quietLogger } from "../../../support/app.ts";
import { type ConsoleScene, consoleScene, SCENE_TIME } from "../../../support/console_scene.ts";
import { countingStorage } from "../../../support/counting_storage.ts";
import { storePortals } from "../../../support/many_portals.ts";
import { after, before, describe, it } from "../../../support/test.ts";
import { answerOf, consoleRig, ORIGIN } from "./_console.ts";

/** Breaks out of text, of attributes and of scripts, if it is not escaped. */
const MARK = `"'><script>alert(1)</script><img src=x onerror=alert(2)>`;

/** A console over a scene. */
interface Shown extends ConsoleScene {
  /** Opens a page as an operator; `read` as one who may only look. */
  readonly open: (path: string, language?: "en" | "ru", role?: "read" | "operate") => Promise<string>;
}

async function shown(mark: string, error = ""): Promise<Shown> {
  let fetch: (request: Request) => Promise<Response>;
  const scene = await consoleScene({
    ...{ portals: 240, mark, error },
    prepare: (app, clock) => {
      const guard = (request: Request) => ({
        name: "ada",
        role: request.headers.get("x-role") === "read" ? "read" as const : "operate" as const,
      });
      ({ fetch } = operatorConsole({ app, origin: ORIGIN, guard, clock, logger: quietLogger }));
    },
  });
  return {
    ...scene,
    open: async (path, language = "en", role = "operate") => {
      const headers = { "accept-language": language, "x-role": role };
      const { status, text } = await answerOf(await fetch(new Request(`${ORIGIN}${path}`, { headers })));
      assert.equal(status, 200, `${path}: ${text.slice(-2000)}`);
      return text;
    },
  };
}

/** All addresses of pages that look different. */
function addresses({ parked, blocked }: ConsoleScene): readonly string[] {
  return [
    ...["/", "/?range=day", "/?range=years", "/portals", "/portals?status=parked", "/portals?domain=nobody.example"],
    ...[`/portals?domain=${parked}`, `/portals/${parked}`, `/portals/${blocked}`, "/rollout", "/rollout?target=2.5.0"],
    ...["/rollout?target=9.0.0", "/batches", "/audit", "/audit?by=ada&action=retry", "/outbox", "/outbox?state=dead"],
    ...["/silences", "/unverified", "/health", "/upgrades"],
  ];
}

/** Returns the text of a page without tags, its white space as single spaces. */
function textOf(page: string): string {
  return page.replace(/^[^]*<main/, "<main").replace(/<script>[^]*<\/script>/, "").replace(/<[^>]*>/g, " ").replaceAll(
    "&quot;",
    '"',
  ).replace(/\s+/g, " ");
}

describe("the pages of the console", () => {
  let scene: Shown;
  before(async () => {
    scene = await shown(MARK);
  });
  after(() => scene.app.close());

  it("escape what portals, errors and operators say, have no style or event attributes, and stay below 100 KB", async () => {
    const marked: string[] = [];
    for (const path of addresses(scene)) {
      for (const language of ["en", "ru"] as const) {
        const page = await scene.open(path, language);
        assert.doesNotMatch(page, /<script>alert|<img/, path);
        const tags = page.replace(/<style>[^]*?<\/style>|<script>[^]*?<\/script>/g, "").match(/<[a-z][^>]*>/g) ?? [];
        for (const tag of tags) {
          // Values of attributes may contain anything: they are quoted.
          assert.doesNotMatch(tag.replace(/"[^"]*"/g, '""'), /\s(style|on\w+)=/, `${path}: ${tag}`);
        }
        assert.ok(new TextEncoder().encode(page).length < 100_000, `${path}: ${page.length} characters`);
        assert.doesNotMatch(textOf(page), /undefined|\[object|NaN|\\n/, path);
        if (page.includes("&lt;script&gt;alert(1)")) marked.push(path);
      }
    }
    for (
      const path of [
        "/",
        "/portals?status=parked",
        `/portals/${scene.parked}`,
        "/rollout",
        "/audit",
        "/outbox?state=dead",
        "/silences",
      ]
    ) {
      assert.ok(marked.includes(path), `${path} shows what it has to escape`);
    }
  });

  it("have one heading of the first level, labels for all fields, and headings for all tables", async () => {
    for (const path of addresses(scene)) {
      const page = await scene.open(path);
      assert.equal(page.match(/<h1>/g)?.length, 1, path);
      const ids = [...page.matchAll(/ id="([^"]+)"/g)].map(([, id]) => id!);
      assert.deepEqual(ids.filter((id, i) => ids.indexOf(id) !== i), [], `${path}: ids twice`);
      for (const [, id] of page.matchAll(/<(?:input|select) id="([^"]+)"/g)) {
        assert.ok(page.includes(`<label for="${id}">`), `${path}: ${id}`);
      }
      for (const [, id] of page.matchAll(/aria-(?:labelledby|describedby)="([^"]+)"/g)) {
        for (const one of id!.split(" ")) assert.ok(ids.includes(one), `${path}: ${one}`);
      }
      assert.equal(page.match(/<table>/g)?.length ?? 0, page.match(/<caption>/g)?.length ?? 0, path);
    }
  });

  it("stay below 100 KB whatever domains and errors say", async () => {
    const long = await shown("ж".repeat(230), "щ".repeat(4000));
    for (const path of addresses(long)) {
      const size = new TextEncoder().encode(await long.open(path, "ru")).length;
      assert.ok(size < 100_000, `${path}: ${size} bytes`);
    }
    await long.app.close();
  });

  it("show no action to who may only read", async () => {
    for (const path of addresses(scene)) assert.doesNotMatch(await scene.open(path, "en", "read"), /\/act\//, path);
    const operated = await scene.open("/");
    for (const id of ["startBatch", "resumeRollout", "promoteRollout", "abortRollout"]) {
      assert.ok(operated.includes(`/act/${id}?`), id);
    }
  });

  it("are all in the list of addresses", () => {
    const paths = addresses(scene).map((path) => path.split("?")[0]!);
    for (const { path } of PAGES) {
      assert.ok(paths.some((one) => new RegExp(`^${path.replace(/\{\w+\}/, "[^/]+")}$`).test(one)), path);
    }
  });
});

describe("the overview", () => {
  let scene: Shown;
  before(async () => {
    scene = await shown("");
  });
  after(() => scene.app.close());

  it("shows states, what needs attention with links to it, the rollout and its stages, and versions over time", async () => {
    const page = await scene.open("/");
    const text = textOf(page);
    const groups = await scene.app.admin.stuck();
    const [first] = groups;
    assert.ok(first !== undefined && first.status === "parked" && first.count > 10);
    assert.match(
      text,
      new RegExp(`Parked ${first.count} portals upgrade 3.0.0 · step “convert lists” lists.get answered 404`),
    );
    assert.ok(page.includes(`href="/portals?status=parked&amp;fingerprint=${first.fingerprint}"`));
    assert.ok(
      page.includes(
        `/act/startBatch?action=retry&amp;match.status=parked&amp;match.fingerprint=${first.fingerprint}&amp;back=%2F`,
      ),
    );
    assert.match(text, /Blocked \d portals? waits for a payment the paid period of the app is over/);
    assert.match(text, /Rollout of 3\.0\.0 Details Paused Too many failures of upgrade 3\.0\.0 have paused it/);
    assert.match(text, /5 portals done until promoted 30 % now · 1 hr ago lasts 1 day 100 % to come/);
    assert.match(
      page,
      /<title id="versions-chart-title">Portals by version over time<\/title><desc id="versions-chart-desc">/,
    );
    assert.match(text, /Latest numbers: 3\.0\.0: \d+, /);
    const [current] = (await scene.app.admin.counts()).filter(({ status }) => status === "current");
    assert.match(text, new RegExp(`Version Current Blocked Parked Held 3\\.0\\.0 ${current!.count} 0 0 0`));
    assert.match(page, /<a href="\/\?range=week" aria-current="true">/);
  });

  it("shows another range of the chart, and the last week for an unknown range", async () => {
    assert.match(await scene.open("/?range=quarter"), /<a href="\/\?range=quarter" aria-current="true">/);
    assert.match(await scene.open("/?range=toString"), /<a href="\/\?range=week" aria-current="true">/);
  });

  it("says so while there are no portals, no history, and nothing that needs attention", async () => {
    const { app, open, portal } = consoleRig();
    assert.match(textOf((await open("/")).text), /No portal is stored yet/);
    await app.fetch(new Request(`${ORIGIN}/`, { method: "POST", body: new URLSearchParams(portal.install(2)) }));
    const text = textOf((await open("/")).text);
    assert.match(text, /1 portal with the app/);
    assert.match(text, /Nothing is stuck/);
    assert.match(text, /No history yet/);
    await app.close();
  });
});

describe("the page of a portal", () => {
  let scene: Shown;
  before(async () => {
    scene = await shown("");
  });
  after(() => scene.app.close());

  it("shows its failure, its plan, its timeline with durations, and the calls of its last run", async () => {
    const page = await scene.open(`/portals/${scene.parked}`);
    const text = textOf(page);
    const portal = (await scene.app.portal(scene.parked))!;
    assert.match(text, new RegExp(`${portal.domain} Parked 2\\.5\\.0 → 3\\.0\\.0`));
    assert.match(text, /Last failure lists\.get answered 404 ERROR_NOT_FOUND/);
    assert.match(text, /Error B24Error · ERROR_NOT_FOUND/);
    assert.ok(page.includes(`href="/portals?fingerprint=${portal.failure!.fingerprint}"`));
    assert.match(text, /Plan 1 upgrade runs, in this order: 3\.0\.0/);
    assert.match(text, /Step move deals \S+ \S+ UTC upgrade 2\.5\.0 · took 9 sec · 4 pages/);
    assert.match(text, /sleep “let the search index catch up”/);
    assert.match(text, /Upgrade 2\.5\.0 \S+ \S+ UTC applied/);
    assert.match(text, /Event ONAPPUPDATE \S+ \S+ UTC verified and handled · after/);
    assert.match(text, /REST calls of the last run .* crm\.item\.list \d+/);
    for (
      const action of [
        "retryPortal",
        "skipUpgrade",
        "rollBackPortal",
        "rehearsePortal",
        "checkPortal",
        "setTarget",
        "forgetPortal",
      ]
    ) {
      assert.ok(page.includes(`/act/${action}?portal=${scene.parked}`), action);
    }
    assert.ok(page.includes("upgradeId=3.0.0"), "skip names the upgrade");
  });

  it("shows the problems that the last check found, or that none is known", async () => {
    const found: string[] = [];
    const storage = memoryStorage();
    let now = SCENE_TIME;
    const { app, open, portal } = consoleRig({ storage, clock: () => now }, { clock: () => now });
    app.use({ name: "registrations", check: () => Promise.resolve(found) });
    await app.fetch(new Request(`${ORIGIN}/`, { method: "POST", body: new URLSearchParams(portal.install(2)) }));
    const path = `/portals/${MEMBER_ID}`;
    const russian = { "accept-language": "ru" };
    const texts = async (headers = {}): Promise<string> => textOf((await open(path, headers)).text);
    const key = portalKey(MEMBER_ID);
    const { check: _, ...unchecked } = (await storage.get<PortalRecord>(key))!.value;
    await storage.put(key, unchecked);
    assert.match(await texts(), /Last check Not checked yet\. Check now/);
    await app.check(MEMBER_ID);
    now += 5 * 60_000;
    assert.match(await texts(), /Last check Time \S+ \S+ UTC \( 5 min ago \) No problem is known\. Check now/);
    found.push(`triggers paid: not registered ${MARK}`);
    await app.check(MEMBER_ID);
    const { text } = await open(path);
    assert.match(textOf(text), /Last check Time .*registrations triggers paid: not registered/);
    assert.match(
      await texts(russian),
      /Последняя проверка .*registrations triggers paid: not registered .*Проверить сейчас/,
    );
    assert.ok(text.includes("&lt;script&gt;alert(1)"));
    assert.doesNotMatch(text, /<script>alert|<img/);
    assert.ok(text.includes(`/act/checkPortal?portal=${MEMBER_ID}`));
    await app.close();
  });

  it("shows 80 entries of a long timeline, and a link to earlier ones", async () => {
    let now = SCENE_TIME;
    const { app, open, portal } = consoleRig({ clock: () => now++ });
    app.upgrade("3", async ({ step }) => {
      for (let n = 0; n < 150; n++) {
        await step(`step ${n}`, () => {});
        if (n % 50 === 49) now += 60_000;
      }
      throw new Error("no such list");
    });
    for (const body of [portal.install(2), portal.update(3)]) {
      await app.fetch(new Request(`${ORIGIN}/`, { method: "POST", body: new URLSearchParams(body) }));
    }
    const seen: number[] = [];
    let path: string | undefined = `/portals/${MEMBER_ID}`;
    while (path !== undefined) {
      const { status, text }: { status: number; text: string } = await open(path);
      assert.equal(status, 200);
      seen.push(text.match(/<li class="entry /g)!.length);
      path = /href="(\/portals\/\w+\?before=\d+)"/.exec(text)?.[1];
    }
    const { deliveries, runs, attempts } = await app.admin.history(MEMBER_ID);
    const steps = runs.flatMap(({ upgrades }) => upgrades.flatMap(({ steps }) => steps));
    const all = deliveries.length + attempts.length + runs.length + steps.length;
    assert.ok(seen.length > 1 && seen.every((count) => count <= 80), String(seen));
    assert.ok(all > 150);
    assert.equal(seen.reduce((sum, count) => sum + count, 0), all);
    await app.close();
  });

  it("says what a blocked portal waits for, since when and until when", async () => {
    const text = textOf(await scene.open(`/portals/${scene.blocked}`));
    assert.match(
      text,
      /waits for a payment the paid period of the app is over Since \S+ \S+ UTC \( .* ago \) Next attempt/,
    );
  });

  it("is found by its domain, the first part of it, its address and its member_id; no portal is no error", async () => {
    const { domain } = (await scene.app.portal(scene.parked))!;
    const [first] = domain.split(".");
    for (const named of [domain, domain.toUpperCase(), `https://${domain}/crm/deal/`, scene.parked, first!]) {
      const page = await scene.open(`/portals?domain=${encodeURIComponent(named)}`);
      assert.ok(page.includes(`href="/portals/${scene.parked}"`), named);
    }
    const odd = await scene.open(`/portals?domain=${encodeURIComponent(`https://${domain}/a\nb`)}`);
    assert.ok(odd.includes(`href="/portals/${scene.parked}"`), "what follows the host does not count");
    assert.match(textOf(await scene.open(`/portals?domain=${"0".repeat(32)}`)), /No portal matches/);
  });

  it("is named by its member_id once its data are erased", async () => {
    let now = SCENE_TIME;
    const clock = (): number => now;
    const { app, portal, open } = consoleRig({ clock }, { clock });
    await app.fetch(post(portal.install(2)));
    await app.fetch(post(portal.uninstall()));
    await app.settled();
    now += 40 * 86_400_000;
    await app.tick();
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.domain, "");
    const link = `<a href="/portals/${MEMBER_ID}">${MEMBER_ID}</a>`;
    for (const path of ["/portals?status=uninstalled", `/act/forgetPortal?portal=${MEMBER_ID}`]) {
      assert.ok((await open(path)).text.includes(link), path);
    }
    await app.close();
  });

  it("is said to be there if newer code wrote it, by its domain and the first part of it", async () => {
    const storage = memoryStorage();
    const { app, portal, open } = consoleRig({ storage });
    await app.fetch(post(portal.install(2)));
    const { value } = (await storage.get<object>(portalKey(MEMBER_ID)))!;
    await storage.put(portalKey(MEMBER_ID), { ...value, format: 999 });
    for (const named of [portal.domain, portal.domain.split(".")[0]]) {
      assert.match(
        textOf((await open(`/portals?domain=${named}`)).text),
        /1 portal cannot be read/,
        `${named}`,
      );
    }
    await app.close();
  });

  it("is not said to be unknown while the storage does not answer", async () => {
    const inner = memoryStorage();
    let isDown = false;
    const get: typeof inner.get = (...args) => isDown ? Promise.reject(new StorageError("down")) : inner.get(...args);
    const { app, open } = consoleRig({ storage: { ...inner, get } });
    await app.setUp();
    isDown = true;
    assert.equal((await open(`/portals?domain=${MEMBER_ID}`)).status, 503);
    isDown = false;
    await app.close();
  });

  it("keeps the filter in actions, exports and the next page of a list", async () => {
    const page = await scene.open("/portals?status=current");
    for (
      const address of [
        ...[
          "/act/startBatch?action=retry&amp;match.status=current&amp;back=",
          "/export/portals?status=current&amp;format=csv",
        ],
        ...["/export/portals?status=current&amp;format=jsonl", "/portals?status=current&amp;after="],
      ]
    ) assert.ok(page.includes(address), address);
    assert.doesNotMatch(await scene.open("/portals"), /\/act\//);
  });

  it("acts on and exports what it shows, also by an address", async () => {
    const { domain } = (await scene.app.portal(scene.parked))!;
    const filter = `status=parked&domain=${encodeURIComponent(`https://${domain}/crm/`)}`;
    const page = await scene.open(`/portals?${filter}`);
    assert.ok(page.includes(`/act/startBatch?action=retry&amp;match.domain=${domain}&amp;match.status=parked`));
    assert.ok(page.includes(`/export/portals?domain=${domain}&amp;status=parked`));
    const named = await scene.open(`/portals?domain=${scene.parked}&status=current`);
    assert.doesNotMatch(named, /\/act\/startBatch|\/export\//);
  });

  it("suggests versions, upgrades and failures that there are", async () => {
    const page = await scene.open("/portals");
    const lists = [...page.matchAll(/<datalist id="field-(\w+)-list">(.*?)<\/datalist>/g)];
    assert.deepEqual(lists.map(([, name]) => name), ["version", "upgradeId", "fingerprint"]);
    assert.match(lists[0]![2]!, /value="3\.0\.0".*value="2\.4\.0"/);
    assert.match(lists[1]![2]!, /value="3\.0\.0"/);
  });
});

describe("pages in Russian", () => {
  it("count portals as the language does", async () => {
    const scene = await shown("");
    const text = textOf(await scene.open("/", "ru"));
    assert.match(text, /Требует внимания/);
    assert.match(text, /Остановлен \d+ (портал|портала|порталов) обновление 3\.0\.0 · шаг «convert lists»/);
    await scene.app.close();
  });
});

describe("times", () => {
  it("are in UTC and say so, for browsers without JavaScript", async () => {
    const scene = await shown("");
    const iso = new Date(SCENE_TIME).toISOString();
    const page = await scene.open("/");
    assert.ok(page.includes(`<time datetime="${iso}">${iso.slice(0, 19).replace("T", " ")} UTC</time>`));
    await scene.app.close();
  });
});

describe("pages and tokens", () => {
  it("have none of a portal's tokens", async () => {
    const { app, open, portal } = consoleRig();
    await app.fetch(new Request(`${ORIGIN}/`, { method: "POST", body: new URLSearchParams(portal.install(2)) }));
    const tokens = Object.entries(portal.tokens()).filter(([name]) => /token/i.test(name)).map(([, token]) =>
      String(token)
    );
    assert.ok(tokens.length > 0);
    const digests = Object.values((await app.portal(MEMBER_ID))?.applicationToken ?? {}).map(String);
    for (const path of ["/", "/portals", `/portals/${MEMBER_ID}`, "/audit", "/health"]) {
      const { text } = await open(path);
      for (const secret of [...tokens, ...digests]) assert.ok(!text.includes(secret), path);
    }
    await app.close();
  });
});

describe("storage operations and rows of pages among 20,000 portals are at most twice those among 1,000", () => {
  const worlds: { readonly open: (path: string) => Promise<void>; readonly cost: () => readonly number[] }[] = [];
  before(async () => {
    for (const count of [1000, 20_000]) {
      const inner = memoryStorage();
      await storePortals(inner, count);
      const { storage, operations, rows, reset } = countingStorage(inner);
      const { open } = consoleRig({ storage });
      worlds.push({
        open: async (path) => {
          reset();
          assert.equal((await open(path)).status, 200, path);
        },
        cost: () => [operations(), rows()],
      });
    }
  });

  for (
    const path of [
      ...[
        "/",
        "/portals",
        "/portals?status=parked",
        "/portals?status=parked&fingerprint=often",
        "/portals?version=1.0.0",
      ],
      ...["/portals?domain=p6.bitrix24.de", "/rollout", "/batches", "/audit", "/outbox", "/unverified", "/health"],
    ]
  ) {
    it(path, async () => {
      const costs: (readonly number[])[] = [];
      for (const { open, cost } of worlds) {
        await open(path);
        costs.push(cost());
      }
      const [[fewOperations, fewRows], [manyOperations, manyRows]] = costs as [number[], number[]] as [
        [number, number],
        [number, number],
      ];
      assert.ok(manyOperations <= 2 * fewOperations && manyRows <= 2 * fewRows, JSON.stringify(costs));
    });
  }
});
