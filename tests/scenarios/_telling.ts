/** The life of a portal in which everything happens that is told, in a process that ends before or after one of its writes. */
import { type App, B24Error, createApp, NonRetriableError, type Plugin, type Storage } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import type { PortalRecord } from "../../src/portal/record.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger, trustAll } from "../support/app.ts";
import { OPERATOR } from "../support/operator.ts";

/** A write before or after which a process ends, counted from 1. */
export interface End {
  readonly at: number;
  readonly when: "before" | "after";
}

/** The changes of the life, if no process ends. */
export const CHANGES: readonly string[] = [
  "upgraded 1.0.0 to 2.0.0",
  "blocked on payment",
  "unblocked from payment",
  "parked 2.0.0 to 3.0.0: no",
  "resumed 2.0.0 to 3.0.0",
  "upgraded 2.0.0 to 3.0.0",
  "removed from 3.0.0",
];

export interface LifeOptions {
  readonly storage: Storage;
  readonly told: Plugin;
  readonly clock: () => number;
  /** Lets hours pass. */
  readonly later: () => void;
}

/** The work of upgrades in a process. */
interface Behavior {
  upgrade: () => void;
}

function appOf({ storage, told, clock }: Omit<LifeOptions, "later">, behavior: Behavior): App {
  const app = createApp({
    ...{ storage, clock, logger: quietLogger, clientId: CLIENT_ID, acknowledge: "handled" },
    ...{ tickEveryMs: false, checks: false },
  }).use(trustAll).use(told);
  for (const version of ["2", "3"]) app.upgrade(version, () => behavior.upgrade());
  return app as App;
}

/** Lives the life. What fails because the process ends is ignored. */
export async function live({ later, ...options }: LifeOptions): Promise<void> {
  const behavior: Behavior = { upgrade: () => {} };
  const app = appOf(options, behavior);
  const portal = fakeBitrix24({ clientId: CLIENT_ID, clock: options.clock }).portal({ memberId: MEMBER_ID });
  const fail = (error: () => Error) => (): never => {
    throw error();
  };
  const unpaid = (): Error =>
    new B24Error({ code: "PAYMENT_REQUIRED", description: "", status: 402, method: "profile" });
  const steps: readonly (() => Promise<unknown>)[] = [
    () => app.fetch(post(portal.install(1))),
    () => app.fetch(post(portal.update(2))),
    () => {
      behavior.upgrade = fail(unpaid);
      return app.fetch(post(portal.update(3)));
    },
    () => {
      behavior.upgrade = fail(() => new NonRetriableError("no"));
      later();
      return app.tick();
    },
    () => {
      behavior.upgrade = () => {};
      return app.admin.retry(MEMBER_ID, OPERATOR);
    },
    () => app.settled(),
    () => app.fetch(post(portal.uninstall())),
    () => app.settled(),
  ];
  for (const step of steps) await step();
  await app.close();
}

/** Starts another process some hours later, and lets it do what is due. */
export async function recover({ later, ...options }: LifeOptions): Promise<void> {
  later();
  const app = appOf(options, { upgrade: () => {} });
  await app.settled();
  await app.close();
}

/** Returns the storage with `before` and `after` called around each write. */
export function aroundWrites(
  storage: Storage,
  { before, after }: { readonly before: () => void; readonly after: () => void },
): Storage {
  const around = async <T>(run: () => Promise<T>): Promise<T> => {
    before();
    const result = await run();
    after();
    return result;
  };
  const { write, ...others } = storage;
  return {
    ...others,
    put: (...args) => around(() => storage.put(...args)),
    delete: (...args) => around(() => storage.delete(...args)),
    ...(write !== undefined && { write: (...args) => around(() => write(...args)) }),
  };
}

/** Returns the storage with `note` called for each record that is written, before its writer knows. */
export function noting(
  storage: Storage,
  note: (before: PortalRecord | undefined, after: PortalRecord) => void,
): Storage {
  let before: PortalRecord | undefined;
  const see = (key: readonly string[], value: unknown): void => {
    if (key[0] !== "portal") return;
    const after = JSON.parse(JSON.stringify(value)) as PortalRecord;
    note(before, after);
    before = after;
  };
  const { write, ...others } = storage;
  return {
    ...others,
    put: async (key, value, options) => {
      const result = await storage.put(key, value, options);
      if (result.ok) see(key, value);
      return result;
    },
    ...(write !== undefined && {
      write: async (operations, options) => {
        const result = await write(operations, options);
        for (const operation of result.ok ? operations : []) {
          if ("put" in operation) see(operation.put, operation.value);
        }
        return result;
      },
    }),
  };
}
