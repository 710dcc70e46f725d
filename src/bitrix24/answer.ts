/** Reads the answers of portals and OAuth hosts. Each of them may be hostile. */
import { createKeyedMutex } from "../async/keyed_mutex.ts";
import { delay, systemTime } from "../async/time.ts";
import { checkOptions, option, type OptionRules } from "../check_options.ts";
import { AnswerTooLargeError } from "../errors.ts";
import { concat } from "./bytes.ts";
import { exceeds } from "./json_size.ts";

/** Limits of an answer of a portal. An answer that exceeds one is not parsed. */
export interface AnswerLimits {
  /**
   * Maximum size of an answer in bytes, after decompression. Minimum: 1.
   *
   * @default 4194304
   */
  readonly answerBytes?: number;
  /**
   * Maximum number of arrays and objects in an answer, which take up to 40 times the memory of their text. Minimum: 1.
   *
   * @default 100000
   */
  readonly answerContainers?: number;
}

const LIMIT_RULES: OptionRules<AnswerLimits> = {
  answerBytes: option.number({ min: 1, max: Infinity }),
  answerContainers: option.number({ min: 1, max: Infinity }),
};

/** An answer of a portal or an OAuth host. */
export interface HostAnswer {
  /** The answer as it was sent; empty if it is not UTF-8. */
  readonly text: string;
  /** The parsed answer; `undefined` if it is not JSON. */
  readonly json: unknown;
}

/** Above this size in bytes, answers are parsed one at a time in a process. */
const LARGE_BYTES = 262_144;

const parsing = createKeyedMutex();

/**
 * Reads the body of a response from a host that may be hostile. Use it instead of `response.json()`, which reads any
 * amount of data. `limits` may be the options of a plugin, with other members that the plugin checks; by default, an answer has
 * at most 4 MiB, and 100,000 arrays and objects.
 *
 * @throws {AnswerTooLargeError} if the answer exceeds a limit; the rest of it is not read
 * @throws {TypeError} if a limit is below 1
 * @throws what reading the body throws, if the connection breaks
 * @throws the reason of `signal`
 *
 * @example
 * ```ts
 * import { readAnswer } from "@b24/onappupdate";
 * import assert from "node:assert/strict";
 *
 * const { json } = await readAnswer(Response.json({ result: [1, 2] }));
 * assert.deepEqual(json, { result: [1, 2] });
 * assert.deepEqual(await readAnswer(new Response("<html>")), { text: "<html>", json: undefined });
 * await assert.rejects(readAnswer(new Response("x".repeat(100)), { answerBytes: 99 }), { code: "answer_too_large" });
 * ```
 */
export async function readAnswer(
  response: Response,
  limits: AnswerLimits = {},
  signal?: AbortSignal,
): Promise<HostAnswer> {
  const { answerBytes = 4 * 2 ** 20, answerContainers = 100_000 } = limits;
  checkOptions("cannot read an answer", { answerBytes, answerContainers }, LIMIT_RULES);
  // The bytes are outside of the heap of JavaScript. Strings and parsed values are in it.
  const bytes = await readBytes(response, answerBytes, signal);
  if (bytes.length <= LARGE_BYTES) return parse(bytes, answerContainers);
  return await parsing("large answers", async () => {
    // The caller of the previous answer processes it first, and so does everyone else who waits for the event loop.
    await delay(systemTime, 0, signal);
    return parse(bytes, answerContainers);
  });
}

async function readBytes(response: Response, max: number, signal: AbortSignal | undefined): Promise<Uint8Array> {
  const reader = response.body?.getReader();
  if (reader === undefined) return new Uint8Array();
  const cancel = (): void => void reader.cancel().catch(() => {});
  // Ends a pending read, also if `fetch` ignores the signal.
  signal?.addEventListener("abort", cancel, { once: true });
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    // No event follows an abort that came before the listener.
    signal?.throwIfAborted();
    while (true) {
      const { done, value } = await reader.read();
      signal?.throwIfAborted();
      if (done) return concat(chunks, size);
      size += value.byteLength;
      if (size > max) throw new AnswerTooLargeError("answerBytes", max);
      chunks.push(value);
    }
  } catch (error) {
    cancel();
    throw error;
  } finally {
    signal?.removeEventListener("abort", cancel);
  }
}

function parse(bytes: Uint8Array, maxContainers: number): HostAnswer {
  let text = "";
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
    if (exceeds(text, { containers: maxContainers })) throw new AnswerTooLargeError("answerContainers", maxContainers);
    return { text, json: JSON.parse(text) };
  } catch (error) {
    if (error instanceof AnswerTooLargeError) throw error;
    // The page of a proxy, a login page, or half an answer.
    return { text, json: undefined };
  }
}
