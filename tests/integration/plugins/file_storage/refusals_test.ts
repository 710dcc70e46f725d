import assert from "node:assert/strict";
import { chmodSync, mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { FormatError, StorageError } from "@b24/onappupdate/errors";
import { describe, it } from "../../../support/test.ts";
import { commandOf, placeOfEachTest, start, valueOf } from "./_file_storage.ts";

const place = placeOfEachTest();

type Command = readonly [string, ...string[]];

/** Runs a command and resolves to the JSON that it prints. */
async function outputOf(command: Command): Promise<unknown> {
  const child = start(command);
  let output = "";
  child.process.stdout!.on("data", (text) => output += text);
  assert.deepEqual(await child.ended, [0, null], child.errors());
  return JSON.parse(output);
}

/** Returns the names and contents of the files in the folder. */
function contents(): Record<string, string> {
  const names = readdirSync(place.folder).sort();
  return Object.fromEntries(names.map((name) => [name, readFileSync(join(place.folder, name), "hex")]));
}

describe("fileStorage() refuses to open, and does not change,", () => {
  const places: readonly { readonly what: string; readonly make: () => string; readonly message: RegExp }[] = [
    {
      what: "a file in a missing folder",
      make: () => join(place.folder, "none", "app.db"),
      message: /no such file or directory/i,
    },
    {
      what: "a path that has a file as a folder",
      make: () => {
        writeFileSync(join(place.folder, "file"), "");
        return join(place.folder, "file", "app.db");
      },
      message: /not a directory/i,
    },
    {
      what: "a folder",
      make: () => {
        mkdirSync(place.path);
        return place.path;
      },
      message: /unable to open database file.*, wanted a writable file in a writable folder$/,
    },
  ];
  for (const { what, make, message } of places) {
    it(what, () => {
      const path = make();
      assert.throws(() => place.open({ path }), (error: Error) => {
        assert.ok(error instanceof StorageError, String(error));
        assert.ok(error.message.startsWith(`cannot open ${path}: `), error.message);
        assert.match(error.message, message);
        assert.ok(error.cause instanceof Error);
        return true;
      });
    });
  }

  const OUR_ID = 0x42323455;
  const TABLE = "CREATE TABLE entries (key, value); INSERT INTO entries VALUES (1, 2);";
  const files: readonly { readonly what: string; readonly make: () => unknown; readonly message: RegExp }[] = [
    { what: "a file of text", make: () => writeFileSync(place.path, "hello\n"), message: /file is not a database/ },
    {
      what: "a file of zeros",
      make: () => writeFileSync(place.path, new Uint8Array(8192)),
      message: /file is not a database/,
    },
    {
      what: "a database without an application ID",
      make: () => place.execute(TABLE),
      message: /a database of another program/,
    },
    {
      what: "a database of another program",
      make: () => place.execute(`PRAGMA application_id = 1; PRAGMA user_version = 1; ${TABLE}`),
      message: /a database of another program/,
    },
    {
      what: "a database of another program in WAL mode",
      make: () => place.execute(`PRAGMA journal_mode = WAL; PRAGMA application_id = 1; ${TABLE}`),
      message: /a database of another program/,
    },
    {
      what: "an empty database of another program",
      make: () => place.execute("PRAGMA user_version = 7; VACUUM"),
      message: /a database of another program/,
    },
    {
      what: "a database with our application ID and other tables",
      make: () => place.execute(`PRAGMA application_id = ${OUR_ID}; PRAGMA user_version = 1; ${TABLE}`),
      message: /no such column/,
    },
    {
      what: "a truncated file",
      make: async () => {
        const storage = place.open();
        await storage.put(["a"], "x".repeat(10_000));
        await storage.close?.();
        writeFileSync(place.path, readFileSync(place.path).subarray(0, 4096));
      },
      message: /malformed/,
    },
  ];
  for (const { what, make, message } of files) {
    it(what, async () => {
      await make();
      const before = contents();
      assert.throws(() => place.open(), (error: Error) => {
        assert.ok(error instanceof StorageError, String(error));
        assert.ok(error.message.startsWith(`cannot open ${place.path}: `), error.message);
        assert.match(error.message, message);
        return true;
      });
      assert.deepEqual(contents(), before);
    });
  }

  it("a file of a newer format", async () => {
    await place.open().put(["a"], 1);
    await place.close();
    place.execute("PRAGMA user_version = 2");
    const before = contents();
    assert.throws(() => place.open(), (error: Error) => {
      assert.ok(error instanceof FormatError);
      assert.ok(error.message.startsWith(`file ${place.path} has format 2, `), error.message);
      return true;
    });
    assert.deepEqual(contents(), before);
  });

  it("a file that another process keeps locked for longer than busyTimeoutMs", async () => {
    await place.open().close?.();
    const db = place.raw();
    db.exec("BEGIN IMMEDIATE");
    assert.throws(() => place.open({ busyTimeoutMs: 0 }), (error: Error) => {
      assert.ok(error instanceof StorageError);
      assert.equal(error.message, `cannot open ${place.path}: database is locked`);
      return true;
    });
    db.exec("ROLLBACK");
    place.open({ busyTimeoutMs: 0 });
  });
});

/** Returns the command without the capabilities by which root may ignore file modes. */
function respectingModes(command: Command): Command {
  if (process.getuid?.() !== 0) return command;
  const rights = "-dac_override,-dac_read_search";
  // setpriv is in Debian's util-linux.
  return ["setpriv", `--bounding-set=${rights}`, `--inh-caps=${rights}`, ...command];
}

describe("fileStorage() refuses to open, and does not change, a read-only", () => {
  const READ_ONLY = 0o555;
  const WRITABLE = 0o755;
  const READONLY = /: attempt to write a readonly database, wanted a writable file in a writable folder$/;
  const cases = [
    { what: "folder", make: () => rmSync(place.path), folder: READ_ONLY, message: /permission denied/i },
    { what: "folder with an existing file", make: () => {}, folder: READ_ONLY, message: READONLY },
    {
      what: "file",
      make: () => chmodSync(place.path, 0o444),
      folder: WRITABLE,
      message: READONLY,
    },
  ];
  for (const { what, make, folder, message } of cases) {
    it(what, async () => {
      const storage = place.open();
      await storage.put(["a"], 1);
      await storage.close?.();
      make();
      const before = contents();
      chmodSync(place.folder, folder);
      const answer = String(await outputOf(respectingModes(commandOf("file_storage_child.ts", "open", place.path))));
      chmodSync(place.folder, WRITABLE);
      assert.ok(answer.startsWith(`cannot open ${place.path}: `), answer);
      assert.match(answer, message);
      assert.deepEqual(contents(), before);
    });
  }
});

describe("fileStorage() on a bad disk", () => {
  it("rejects writes on a full disk, keeps acknowledged ones and continues to read", async () => {
    // Limits files to 400 blocks of 512 or 1024 bytes.
    const command = commandOf("file_storage_child.ts", "fill", place.path);
    const { acknowledged, errors, listed } = await outputOf([
      "sh",
      "-c",
      'trap "" XFSZ; ulimit -f 400; exec "$@"',
      "sh",
      ...command,
    ]) as { acknowledged: number[]; errors: string[]; listed: number[] };
    assert.ok(acknowledged.length >= 8, `acknowledged ${acknowledged.length}`);
    assert.ok(errors.length > 0);
    for (const error of errors) {
      assert.match(error, /^cannot put \["fill","\d+"\] into .*app\.db: (disk I\/O error|database or disk is full)$/);
    }
    assert.deepEqual(listed, acknowledged);

    const { storage, connection } = place.connect();
    assert.equal(valueOf(connection, "PRAGMA integrity_check"), "ok");
    const kept = await Array.fromAsync(storage.list<{ number: number }>(["fill"]));
    assert.deepEqual(kept.map(({ value }) => value.number).sort((a, b) => a - b), acknowledged);
    assert.equal((await storage.put(["fill", "more"], "x".repeat(3000))).ok, true);
  });

  it("rejects reads of damaged entries, reads the others and changes nothing", async () => {
    const storage = place.open();
    for (let i = 0; i < 100; i++) await storage.put(["a", String(i)], "x".repeat(1000));
    await storage.close?.();
    const file = readFileSync(place.path);
    // Damages every third page from the middle on.
    for (let at = file.length / 2 - file.length / 2 % 4096; at < file.length; at += 3 * 4096) {
      file.fill(0xaa, at, at + 4096);
    }
    writeFileSync(place.path, file);

    const before = contents();
    const damaged = place.open();
    const isDamage = (error: Error): boolean => {
      assert.ok(error instanceof StorageError, String(error));
      assert.match(error.message, /app\.db: database disk image is malformed$/);
      return true;
    };
    let read = 0;
    for (let i = 0; i < 100; i++) {
      try {
        assert.equal((await damaged.get(["a", String(i)]))?.value, "x".repeat(1000));
        read++;
      } catch (error) {
        isDamage(error as Error);
      }
    }
    assert.ok(read > 0 && read < 100, `read ${read} of 100`);
    await assert.rejects(() => Array.fromAsync(damaged.list([])), isDamage);
    await damaged.close?.();
    assert.deepEqual(contents(), before);
  });
});
