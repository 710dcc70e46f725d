/**
 * `node:test` with a deadline for every test and hook, on Deno and Node alike: one that hangs fails by its name, and the
 * run goes on. All tests import from here.
 */
import { AsyncLocalStorage } from "node:async_hooks";
import * as runner from "node:test";
import { deadlineFactor } from "../../scripts/test_run.ts";

export { describe, mock } from "node:test";

/** Options of a test or hook. */
export interface TestOptions {
  /**
   * Time (ms) until it fails, multiplied by TEST_DEADLINE_FACTOR.
   *
   * @default 60_000 for what `tests/unit` registers, otherwise 300_000
   */
  readonly timeout?: number;
}

type Body = () => unknown;

/** Registers a test. Its subtests share its deadline. */
export interface RegisterTest {
  (name: string, body: Body): void;
  (name: string, options: TestOptions, body: Body): void;
}

/** Registers a hook. */
export type RegisterHook = (body: Body, options?: TestOptions) => void;

export const test: RegisterTest = bounded(runner.test);
export const it: RegisterTest = bounded(runner.it);
export const before: RegisterHook = boundedHook("before", runner.before);
export const after: RegisterHook = boundedHook("after", runner.after);
export const beforeEach: RegisterHook = boundedHook("beforeEach", runner.beforeEach);
export const afterEach: RegisterHook = boundedHook("afterEach", runner.afterEach);

/**
 * Awaits `promise`, or rejects when the deadline of the test passes. Until then, `what` is named in the error of a test
 * that misses its deadline.
 */
export async function waitFor<T>(what: string | (() => string), promise: PromiseLike<T>): Promise<T> {
  const deadline = current.getStore();
  if (deadline === undefined) return await promise;
  deadline.waits.add(what);
  try {
    return await Promise.race([promise, deadline.passed]);
  } finally {
    deadline.waits.delete(what);
  }
}

/** Throws if the deadline of the test has passed: for loops, which would run on after it. */
export function checkDeadline(): void {
  const error = current.getStore()?.error;
  if (error !== undefined) throw error;
}

interface Deadline {
  /** Rejects when the time is over. */
  readonly passed: Promise<never>;
  /** The error of `passed`, if it has rejected. */
  error?: Error;
  /** The condition that the test waits for now. */
  readonly waits: Set<string | (() => string)>;
}

const current = new AsyncLocalStorage<Deadline>();

/** The system's timers: tests replace them. */
const { setTimeout, clearTimeout } = globalThis;

const MAX_TIMER_MS = 2 ** 31 - 1;

function bounded(register: (name: string, body: () => Promise<void>) => unknown): RegisterTest {
  return (name: string, ...rest: [Body] | [TestOptions, Body]): void => {
    const [options, body] = rest.length === 2 ? rest : [{}, rest[0]];
    register(name, withDeadline("the test", options, body));
  };
}

function boundedHook(name: string, register: (body: () => Promise<void>) => unknown): RegisterHook {
  return (body, options = {}) => void register(withDeadline(`${name}()`, options, body));
}

function withDeadline(what: string, { timeout }: TestOptions, body: Body): () => Promise<void> {
  const isUnit = /[/\\]tests[/\\]unit[/\\]/.test(new Error().stack ?? "");
  const ms = (timeout ?? (isUnit ? 60_000 : 300_000)) * deadlineFactor();
  return async () => {
    const { promise: passed, reject } = Promise.withResolvers<never>();
    passed.catch(() => {});
    const deadline: Deadline = { passed, waits: new Set() };
    // It keeps the process alive, so that a test that waits for nothing fails as well.
    const timer = setTimeout(() => {
      const waits = [...deadline.waits].map((wait) => `, waiting for: ${typeof wait === "string" ? wait : wait()}`)
        .join("");
      deadline.error = new Error(`${what} did not end within ${ms / 1000} s${waits}`);
      reject(deadline.error);
    }, Math.min(ms, MAX_TIMER_MS));
    try {
      await Promise.race([current.run(deadline, async () => void await body()), passed]);
    } finally {
      clearTimeout(timer);
    }
  };
}
