import assert from "node:assert/strict";
import { B24Error } from "@b24/onappupdate";
import { NoCredentialsError } from "@b24/onappupdate/errors";
import { type NotificationMessage, notifications, type NotificationsOptions } from "@b24/onappupdate/notifications";
import { crowd, memberIdOf } from "../../../support/crowd.ts";
import { describe, it } from "../../../support/test.ts";
import { composeFiring, composeForCustomer, composeResolved } from "../../../../plugins/notifications/compose.ts";
import { type Group, GROUP_FORMAT } from "../../../../plugins/notifications/group.ts";
import { CUSTOMER_BLOCKS, KINDS } from "../../../../plugins/notifications/kinds.ts";
import { SENTENCES } from "../../../../plugins/notifications/sentences.ts";
import { MINUTE, notifier } from "./_notifier.ts";

const UNPAID = new B24Error({ code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" });

const chat = { name: "chat", send: () => Promise.resolve() };

describe("rules of notifications", () => {
  it("send kinds to channels by their severity", async () => {
    const made = await notifier({
      channels: ["chat", "pager", "mail"],
      options: {
        rules: [
          { channels: ["chat", "mail"], kinds: ["portal_parked", "rollout_paused"] },
          { channels: ["mail"] },
          { channels: ["pager"], minSeverity: "critical" },
        ],
      },
    });
    await made.install(1);
    await made.park(0, 1);
    await made.time.elapse(2 * MINUTE);
    assert.deepEqual(made.news(), [
      "firing 1 portal is parked in upgrade 3",
      "mail: firing 1 portal is parked in upgrade 3",
    ]);
    await made.close();
  });

  it("tell customers that the app was updated, and what it needs of them, and nothing else", async () => {
    const sent: object[] = [];
    const time = crowd().time;
    const made = crowd({}, { time });
    made.app.use(notifications({
      channels: [chat, {
        name: "customer",
        send: (message, { id }) => Promise.resolve(void sent.push({ ...message, id })),
      }],
      rules: [{ channels: ["customer"], audience: "customers" }],
      consoleUrl: "https://ops.example",
    }));
    let isUnpaid = true;
    made.app.upgrade("3", () => {
      if (isUnpaid) throw UNPAID;
    });
    await made.install(1);
    await made.update(0, 1);
    await time.elapse(MINUTE);
    const portals = { shown: [{ memberId: memberIdOf(0), domain: "p0.bitrix24.de" }], total: 1 };
    const rest = { status: "firing", lines: [], language: "en", portals };
    assert.equal(sent.length, 1);
    const { id, ...blocked } = sent.pop() as { id: string };
    assert.deepEqual(blocked, {
      ...{ ...rest, kind: "portal_blocked", severity: "warning", blockedOn: "payment" },
      title: "The app cannot continue its update: it needs a payment",
    });
    assert.match(id, new RegExp(`^customer\\.${memberIdOf(0)}\\.payment\\.\\d+\\.customer$`));
    isUnpaid = false;
    await time.elapse(90 * MINUTE);
    assert.equal(sent.length, 1);
    const { id: _, ...upgraded } = sent[0] as { id: string };
    assert.deepEqual(upgraded, { ...rest, kind: "portal_upgraded", severity: "info", title: "The app was updated" });
    await made.close();
  });

  it("tell operators of blocks that they can end, and customers nothing of those", async () => {
    const made = crowd();
    const sent: string[] = [];
    const channel = (name: string) => ({
      name,
      send: ({ status, title }: NotificationMessage) => Promise.resolve(void sent.push(`${name}: ${status} ${title}`)),
    });
    made.app.use(notifications({
      channels: [channel("chat"), channel("customer")],
      rules: [{ channels: ["chat"] }, { channels: ["customer"], audience: "customers", kinds: ["portal_blocked"] }],
    }));
    let isBlocked = true;
    made.app.upgrade("3", ({ memberId }) => {
      if (memberId === memberIdOf(2)) throw UNPAID;
      if (isBlocked) throw new NoCredentialsError(memberId, "configuration", "its host is not allowed");
    });
    await made.install(3);
    await made.update(0, 3);
    await made.time.elapse(2 * MINUTE);
    assert.deepEqual(sent.splice(0), [
      "customer: firing The app cannot continue its update: it needs a payment",
      "chat: firing 2 portals are blocked on configuration",
    ]);
    isBlocked = false;
    await made.time.elapse(90 * MINUTE);
    assert.deepEqual(sent, ["chat: resolved 2 portals are no longer blocked on configuration"]);
    await made.close();
  });

  it("leave out the observers that nobody wants: the core stores nothing for them", () => {
    const of = (rules: NotificationsOptions["rules"]): string[] =>
      Object.keys(notifications({ channels: [chat], ...(rules && { rules }) }).observe!).sort();
    assert(!of(undefined).includes("portalUpgraded"));
    assert.deepEqual(of([{ channels: ["chat"], kinds: ["portal_parked"] }]), ["portalParked"]);
    assert.deepEqual(of([{ channels: ["chat"], audience: "customers" }]), ["portalBlocked", "portalUpgraded"]);
  });
});

describe("notifications() refuses", () => {
  for (
    const [what, wanted, options] of [
      ["no channels", /channels \[\], wanted at least one/, { channels: [] }],
      ["a channel without send", /channels\.0 an object, wanted a channel/, { channels: [{ name: "chat" }] }],
      ["a channel with a space in its name", /channels\.0 an object/, { channels: [{ ...chat, name: "my chat" }] }],
      ["two channels with one name", /channels\.1\.name "chat", wanted another/, { channels: [chat, chat] }],
      ["an unknown fallback", /fallback "mail", wanted the name/, { fallback: "mail" }],
      ["an unknown channel in a rule", /rules\.0\.channels\.0 "mail", wanted "chat"/, {
        rules: [{ channels: ["mail"] }],
      }],
      ["an unknown kind", /rules\.0\.kinds\.0 "parked", wanted/, {
        rules: [{ channels: ["chat"], kinds: ["parked"] }],
      }],
      [
        "a kind that customers do not get",
        /rules\.0\.kinds\.0 "portal_parked", wanted "portal_upgraded" or "portal_blocked"/,
        { rules: [{ channels: ["chat"], kinds: ["portal_parked"], audience: "customers" }] },
      ],
      [
        "a kind that operators do not get",
        /"portal_upgraded", wanted a kind that operators get/,
        { rules: [{ channels: ["chat"], kinds: ["portal_upgraded"] }] },
      ],
      ["quiet hours without an end", /quietHours\.to/, { quietHours: { from: "22:00", to: "22:00", timeZone: "UTC" } }],
      ["an unknown zone", /quietHours\.timeZone "Mars"/, {
        quietHours: { from: "22:00", to: "07:00", timeZone: "Mars" },
      }],
      ["a heartbeat by http", /heartbeat\.url a string, wanted/, { heartbeat: { url: "http://hc.example/s3cret" } }],
      ["a language", /language "de", wanted "en" or "ru"/, { language: "de" }],
      ["a misspelled option", /groupWait that does not exist, wanted groupWaitMs/, { groupWait: 1 }],
    ] as const
  ) {
    it(what, () => {
      const invalid = { channels: [chat], ...options } as unknown as NotificationsOptions;
      assert.throws(() => notifications(invalid), (error) => {
        assert(error instanceof TypeError);
        assert.match(error.message, wanted);
        assert(!error.message.includes("s3cret"));
        return true;
      });
    });
  }
});

describe("sentences", () => {
  it("exist for every kind, in every language, and none is empty or left in English", () => {
    const facts = {
      count: 7,
      target: "2.0.0",
      upgradeId: "3",
      blockedOn: "version",
      channel: "chat",
      plugin: "a",
    } as const;
    for (const [language, { titles, customer, lines }] of Object.entries(SENTENCES)) {
      assert.deepEqual(Object.keys(titles).sort(), Object.keys(KINDS).sort());
      const blocked = Array.from(CUSTOMER_BLOCKS, (on) => customer.blocked(on));
      const all = [
        ...Object.values(titles).flatMap(({ firing, resolved }) => [firing(facts), resolved(facts)]),
        ...[customer.upgraded(), ...blocked],
        ...[lines.error("x"), lines.target("2"), lines.since("now")],
        ...["aborted", "superseded", "finished"].map(lines.ended),
      ];
      for (const text of all) {
        assert(text.length > 2 && !text.includes("undefined"), `${language}: ${text}`);
        assert.equal(/[а-я]/i.test(text), language === "ru", `${language}: ${text}`);
      }
      assert.equal(new Set(blocked).size, CUSTOMER_BLOCKS.size);
    }
  });

  it("say one or many, and cut long errors", () => {
    const group: Group = {
      ...{ format: GROUP_FORMAT, kind: "portal_parked", labels: { step: "convert", upgradeId: "3" }, incarnation: "1" },
      ...{ since: 0, latestAt: 0, details: { error: "😀".repeat(400) }, hasChanged: true, generation: 0, checkAt: 0 },
    };
    const options = { language: "en", link: () => undefined } as const;
    const level = (count: number) => ({ count, portals: { shown: [], total: count } });
    const { title, lines } = composeFiring(group, level(1), options);
    assert.equal(title, "1 portal is parked in upgrade 3, step convert");
    assert(lines[0]!.length < 320 && lines[0]!.isWellFormed() && lines[0]!.endsWith("😀…"));
    const many = composeFiring(group, { ...level(5000), isAtLeast: true }, options);
    assert.equal(many.title, "At least 5000 portals are parked in upgrade 3, step convert");
    assert.equal(composeResolved(group, level(0), options).portals.total, 0);
    assert.equal(composeForCustomer({ memberId: "a" }, "scope", "ru").title, "Обновление приложения ждёт разрешений");
  });
});
