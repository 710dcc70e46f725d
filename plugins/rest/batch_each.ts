/** One command for each of many items, as many in a request as it can hold. */
import type { OnAppUpdateError } from "../../mod.ts";
import { MAX_COMMANDS, type Outcomes } from "./batches.ts";
import type { B24Command } from "./commands.ts";

/** Options of {@linkcode batchEach}. */
export interface EachItem<Item> {
  readonly items: Iterable<Item> | AsyncIterable<Item>;
  readonly command: (item: Item, index: number) => B24Command;
  readonly onFailure: ((error: OnAppUpdateError, item: Item) => void) | undefined;
  /** Runs commands, each with its own outcome. */
  readonly batch: (commands: Readonly<Record<string, B24Command>>) => Promise<Outcomes>;
}

/**
 * Runs the command of each item, in the order of the items, and resolves to the results in this order.
 *
 * @throws the error of the first command that failed, if there is no `onFailure`: after its request, and before the next
 */
export async function batchEach<Item>({ items, command, onFailure, batch }: EachItem<Item>): Promise<unknown[]> {
  const results: unknown[] = [];
  for await (const part of partsOf(items)) {
    const first = results.length;
    const commands = part.map((item, i): [string, B24Command] => [`c${i}`, command(item, first + i)]);
    const outcomes = await batch(Object.fromEntries(commands));
    for (const [i, item] of part.entries()) {
      const outcome = outcomes.get(`c${i}`)!;
      if (outcome.ok) {
        results.push(outcome.value);
        continue;
      }
      if (onFailure === undefined) throw outcome.error;
      onFailure(outcome.error, item);
      results.push(undefined);
    }
  }
  return results;
}

/** Yields the items, as many at a time as a request has commands. */
async function* partsOf<Item>(items: Iterable<Item> | AsyncIterable<Item>): AsyncGenerator<readonly Item[]> {
  let part: Item[] = [];
  for await (const item of items) {
    part.push(item);
    if (part.length < MAX_COMMANDS) continue;
    yield part;
    part = [];
  }
  if (part.length > 0) yield part;
}
