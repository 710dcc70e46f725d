/** A process that uses a file storage, for tests that limit it, kill it, or share the file between processes. */
import { StorageError } from "@b24/onappupdate/errors";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { writeSync } from "node:fs";
import process from "node:process";

const [, , job, path, ...args] = process.argv as [string, string, string, string, ...string[]];

/** Prints synchronously, so that the line arrives also if the process is killed. */
function print(value: unknown): void {
  for (;;) {
    try {
      return void writeSync(1, `${JSON.stringify(value)}\n`);
    } catch (error) {
      // On Node, the pipe may be full until the reader catches up.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

function open(): void {
  try {
    fileStorage({ path });
    print("opened");
  } catch (error) {
    print(error instanceof StorageError ? error.message : `not a StorageError: ${error}`);
  }
}

async function count(times: number): Promise<void> {
  const storage = fileStorage({ path });
  for (let counted = 0; counted < times;) {
    const entry = await storage.get<number>(["count"]);
    const { ok } = await storage.put(["count"], (entry?.value ?? 0) + 1, { ifVersion: entry?.version ?? null });
    if (ok) counted++;
  }
  await storage.close?.();
}

/** Runs concurrent writers until the process is killed. Each prints its number after every acknowledged write. */
function write(round: string, writers: number): void {
  print("opening");
  const storage = fileStorage({ path });
  for (let writer = 0; writer < writers; writer++) {
    const key = (n: number): [string, ...string[]] => ["round", round, String(writer), String(n)];
    void (async () => {
      for (let n = 0;; n++) {
        if (n % 4 === 3) await storage.delete(key(n - 1));
        else await storage.put(key(n), { n, fill: "x".repeat(n % 4 === 1 ? 8000 : 300) });
        print(writer);
      }
    })();
  }
}

/** Writes eight entries at a time until one fails, or 800 in all. Prints the acknowledged numbers, the errors and the entries. */
async function fill(): Promise<void> {
  const storage = fileStorage({ path });
  const acknowledged: number[] = [];
  const errors: string[] = [];
  for (let n = 0; errors.length === 0 && n < 800; n += 8) {
    const numbers = Array.from({ length: 8 }, (_, i) => n + i);
    await Promise.all(numbers.map(async (number) => {
      try {
        await storage.put(["fill", String(number)], { number, fill: "x".repeat(3000) });
        acknowledged.push(number);
      } catch (error) {
        errors.push(error instanceof StorageError ? error.message : `not a StorageError: ${error}`);
      }
    }));
  }
  const entries = await Array.fromAsync(storage.list<{ number: number }>(["fill"]));
  await storage.close?.();
  print({ acknowledged, errors, listed: entries.map(({ value }) => value.number).sort((a, b) => a - b) });
}

switch (job) {
  case "open":
    open();
    break;
  case "count":
    await count(Number(args[0]));
    break;
  case "write":
    write(args[0]!, Number(args[1]));
    break;
  case "fill":
    await fill();
}
