/** Examples of the OpenAPI document, by operation. */

const MEMBER_ID = "a223c6b3710f85df22e9377d6c4f7553";
const AT = 1_785_400_000_000;
const REASON = "ticket 17: fixed in version 3.0.1";

const PORTAL = {
  memberId: MEMBER_ID,
  domain: "example.bitrix24.de",
  clientEndpoint: "https://example.bitrix24.de/rest/",
  status: "installed",
  state: "parked",
  generation: 1,
  initialVersion: "2.0.0",
  version: "2.0.0",
  target: "3.0.0",
  applied: [],
  failure: {
    ...{ upgradeId: "3", to: "3.0.0", step: "convert", message: "no such list", fingerprint: "52a1b0c4e38d97f6" },
    ...{ error: { name: "B24Error", code: "bitrix24", b24Code: "ERROR_NOT_FOUND" }, attempts: 5, at: AT },
  },
} as const;

const RUN = {
  ...{ id: "00000001", generation: 1, from: "1.0.0", to: "2.0.0", startedAt: AT - 5000, finishedAt: AT },
  applied: [{ id: "2", from: "1.0.0", to: "2.0.0", at: AT }],
  upgrades: [{
    upgradeId: "2",
    steps: [{ name: "convert", kind: "step", startedAt: AT - 4000, finishedAt: AT - 100, attempts: 1 }],
  }],
  calls: { "crm.item.list": 40, batch: 12 },
};

const ACTED = { memberId: MEMBER_ID };
const PLAN = {
  ...{ from: "2.0.0", to: "3.0.0", direction: "up", upgrades: [{ id: "3", range: "3.0.0" }], skipped: [] },
};
const BATCH_ID = "98214599999999-999999-4b1d";

const STAGES = [{ portals: 5 }, { percent: 10, forMs: 86_400_000 }, { percent: 100 }];

const ROLLOUT = {
  ...{ target: "3.0.0", state: "running", startedAt: AT - 600_000, stageSince: AT - 300_000 },
  stages: STAGES.map((stage, i) => ({ ...stage, state: ["over", "present", "later"][i] })),
  options: { stages: STAGES, first: [], hold: [], pauseWhen: { failed: 3, percent: 5 }, concurrency: 300 },
  waitsFor: { on: "failures", upgradeIds: ["3"], since: AT },
  ...{ counts: { current: 28, upgrading: 2, blocked: 1, parked: 3, held: 86 }, perMinute: 2.8, remainingMs: 1_885_714 },
  breakers: [{ upgradeId: "3", inFlight: 2, finished: 31, failed: 3, pausesAt: 3, trippedAt: AT }],
  failures: [{
    ...{ fingerprint: "52a1b0c4e38d97f6", upgradeId: "3", message: "no such list", count: 3 },
    memberIds: [MEMBER_ID],
  }],
};

const SILENCED = { kinds: ["portal_parked"], upgradeId: "3" };

const SILENCE = { id: "7b1e", ...SILENCED, by: "ada", reason: REASON, since: AT, until: AT + 7_200_000 };

/** Answers. */
export const ANSWERS: Readonly<Record<string, unknown>> = {
  listPortals: { items: [PORTAL], next: MEMBER_ID },
  countPortals: { items: [{ version: "2.0.0", status: "parked", count: 1 }] },
  diagnose: {
    at: AT,
    findings: [
      { level: "ok", about: "storage redis", message: "answers in 2 ms" },
      {
        ...{ level: "problem", about: "clock", message: "300 s behind that of Bitrix24" },
        todo: "synchronize it (NTP): tokens expire by it",
      },
    ],
  },
  getHealth: {
    ...{ isRunning: true, tickedAt: AT },
    due: { entries: 2, lagMs: 340 },
    unverified: { events: 1, portals: 1, oldestMs: 62_000 },
    outbox: { waiting: 3, dead: 0 },
  },
  listStuck: {
    items: [{
      ...{ status: "parked", count: 3, fingerprint: "52a1b0c4e38d97f6", upgradeId: "3", step: "convert" },
      ...{ message: "no such list", example: { memberId: MEMBER_ID, domain: "example.bitrix24.de" } },
    }],
  },
  listSnapshots: { items: [{ at: AT, counts: [{ version: "2.0.0", status: "parked", count: 1 }] }] },
  listUnverified: {
    items: [{
      ...{ memberId: MEMBER_ID, isKnown: true },
      events: [
        {
          name: "ONAPPUPDATE",
          receivedAt: AT,
          size: 640,
          isTrusted: false,
          attempts: 1,
          error: "timed out",
          nextTryAt: AT,
        },
      ],
    }],
  },
  getPortal: { ...PORTAL, unverifiedEvents: 1 },
  getHistory: {
    deliveries: [
      {
        id: `ONAPPUPDATE:3:1785399999`,
        name: "ONAPPUPDATE",
        ts: 1_785_399_999,
        receivedAt: AT,
        state: "waiting",
        attempts: 0,
      },
    ],
    runs: [RUN],
    attempts: [{
      ...{ generation: 1, upgradeId: "3", step: "convert", attempt: 5, startedAt: AT - 100, failedAt: AT },
      ...{ message: "no such list", fingerprint: "52a1b0c4e38d97f6" },
    }],
  },
  listRuns: { items: [RUN] },
  planPortal: PLAN,
  planVersions: PLAN,
  checkPortal: {
    ...{ memberId: MEMBER_ID, installed: "3.0.0", version: "2.0.0", target: "3.0.0", isRaised: true, status: "P" },
    ...{ scope: ["crm"], problems: [] },
  },
  rehearsePortal: {
    ...{ memberId: MEMBER_ID, from: "2.0.0", to: "3.0.0", isComplete: true },
    upgrades: [{ id: "3", range: "3.0.0", outcome: "rehearsed", steps: [{ name: "deal", kind: "step" }] }],
    calls: [{ method: "crm.deal.add", count: 1, isRead: false }],
    writes: [{ method: "crm.deal.add", params: { fields: { TITLE: "Try version 3" } }, upgradeId: "3", step: "deal" }],
    ...{ changes: {}, notRehearsed: [], time: { requests: 1, rateMs: 0, sleepMs: 0, minMs: 0 } },
    text: "upgrade 3: rehearsed",
  },
  retryPortal: ACTED,
  skipUpgrade: ACTED,
  rollBackPortal: { undone: [{ upgradeId: "3", step: "convert" }], without: [] },
  setTarget: ACTED,
  setInitialVersion: ACTED,
  forgetPortal: ACTED,
  getToken: { name: "ada", role: "operate" },
  listUpgrades: { items: [{ id: "3", range: "3.0.0", due: 40, running: 2, blocked: 1, parked: 1 }] },
  listAudit: {
    items: [{
      ...{ id: "98214599999999-999999-77aa", at: AT, action: "skip", by: "ada", reason: REASON, memberId: MEMBER_ID },
      ...{ details: { upgradeId: "3" }, outcome: "done", finishedAt: AT + 12 },
    }],
  },
  listBatches: {
    items: [{
      ...{ id: BATCH_ID, action: "retry", by: "ada", reason: REASON, match: { status: "parked" }, expect: 40 },
      ...{ state: "running", matched: 40, done: 12, refused: 0, changed: 1, startedAt: AT },
    }],
  },
  countMatching: { matched: 40 },
  startBatch: { id: BATCH_ID, matched: 40 },
  stopBatch: {},
  getPause: { pause: { by: "ada", reason: "wrong prices after version 4", since: AT } },
  pause: {},
  resume: {},
  recount: {},
  listOutbox: {
    items: [{
      ...{ plugin: "notifications", id: "m1", channel: "telegram", putAt: AT, attempts: 5 },
      ...{ error: "channel telegram: the service is down", deadAt: AT },
    }],
    next: { plugin: "notifications", id: "m1" },
  },
  retryOutbox: { count: 3 },
  getRollout: { rollout: ROLLOUT },
  setRollout: { target: "3.0.0" },
  pauseRollout: { target: "3.0.0" },
  resumeRollout: { target: "3.0.0" },
  promoteRollout: { target: "3.0.0" },
  abortRollout: { target: "3.0.0" },
  listSilences: { items: [SILENCE] },
  addSilence: SILENCE,
  removeSilence: {},
};

/** Bodies of requests. */
export const BODIES: Readonly<Record<string, unknown>> = {
  addSilence: { ...SILENCED, until: AT + 7_200_000, reason: REASON },
  removeSilence: { reason: "the fix is deployed" },
  checkPortal: { reason: REASON },
  rehearsePortal: { target: "3", reason: REASON },
  diagnose: {},
  retryPortal: { reason: REASON },
  skipUpgrade: { upgradeId: "3", reason: REASON },
  rollBackPortal: { reason: REASON },
  setTarget: { version: "3", reason: REASON },
  setInitialVersion: { version: "1.4.0", reason: "as in the old database" },
  forgetPortal: { reason: "the customer asked for it" },
  startBatch: {
    ...{ action: "retry", match: { status: "parked", fingerprint: "52a1b0c4e38d97f6" }, expect: 40, reason: REASON },
  },
  stopBatch: { reason: REASON },
  pause: { reason: "wrong prices after version 4" },
  resume: { reason: "version 5 is deployed" },
  recount: { reason: "after the crash of 3 August" },
  retryOutbox: { plugin: "notifications", reason: REASON },
  setRollout: { pauseWhen: { failed: 10 }, window: null, reason: REASON },
  pauseRollout: { reason: "prices are wrong" },
  resumeRollout: { retryParked: true, reason: REASON },
  promoteRollout: { reason: "the five portals look good" },
  abortRollout: { reason: "version 4 corrects it" },
};
