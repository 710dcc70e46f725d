/** A process that works on a file storage, for the tests that hinder one, kill one, or share a file between several. */
import { StorageError } from "@b24/onappupdate/errors";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { writeSync } from "node:fs";
import process from "node:process";

const [, , job, path, ...args] = process.argv as [string, string, string, string, ...string[]];

/** At once, so that it is heard of also when the process is killed. */
function say(what: unknown): void {
  for (;;) {
    try {
      return void writeSync(1, `${JSON.stringify(what)}\n`);
    } catch (error) {
      // On Node, the listener has to catch up.
      if ((error as NodeJS.ErrnoException).code !== "EAGAIN") throw error;
    }
  }
}

function open(): void {
  try {
    fileStorage({ path });
    say("opened");
  } catch (error) {
    say(error instanceof StorageError ? error.message : `no StorageError: ${error}`);
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

/** So many write at once until the process is killed, and say what was acknowledged. */
function write(round: string, writers: number): void {
  say("opening");
  const storage = fileStorage({ path });
  for (let writer = 0; writer < writers; writer++) {
    const key = (n: number): [string, ...string[]] => ["round", round, String(writer), String(n)];
    void (async () => {
      for (let n = 0;; n++) {
        if (n % 4 === 3) await storage.delete(key(n - 1));
        else await storage.put(key(n), { n, fill: "x".repeat(n % 4 === 1 ? 8000 : 300) });
        say(writer);
      }
    })();
  }
}

/** Writes eight at a time until there is no room or enough is written, and says what was acknowledged and how it ended. */
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
        errors.push(error instanceof StorageError ? error.message : `no StorageError: ${error}`);
      }
    }));
  }
  const entries = await Array.fromAsync(storage.list<{ number: number }>(["fill"]));
  await storage.close?.();
  say({ acknowledged, errors, listed: entries.map(({ value }) => value.number).sort((a, b) => a - b) });
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
