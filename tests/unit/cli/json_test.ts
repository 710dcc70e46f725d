import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { memoryStorage, type Storage } from "@b24/onappupdate";
import { oldProgram } from "../../support/adoption.ts";
import { cli, type CliOptions } from "../../support/cli.ts";
import { cliApp, PORTALS } from "../../support/cli_app.ts";
import { codeAt, memberIds, storeInstalled, tickOut } from "../../support/rollout.ts";
import { describe, test } from "../../support/test.ts";

/** The shapes of all data that `--json` prints, by command line. Programs rely on them: a change is a change for them. */
const SHAPES: Readonly<Record<string, unknown>> = JSON.parse(
  readFileSync(fileURLToPath(new URL("json_shapes.json", import.meta.url)), "utf8"),
);

type Shape = string | readonly Shape[] | { readonly [name: string]: Shape };

/** Returns the types of a value; `name?` for members that some elements of a list lack. */
function shapeOf(value: unknown): Shape {
  if (Array.isArray(value)) return value.length === 0 ? [] : [merged(value.map(shapeOf))];
  if (typeof value !== "object" || value === null) return value === null ? "null" : typeof value;
  return Object.fromEntries(Object.entries(value).sort().map(([name, item]) => [name, shapeOf(item)]));
}

function merged(shapes: readonly Shape[]): Shape {
  const objects = shapes.filter((shape) => typeof shape === "object" && !Array.isArray(shape)) as Record<
    string,
    Shape
  >[];
  if (objects.length < shapes.length) return shapes[0]!;
  const names = [...new Set(objects.flatMap((shape) => Object.keys(shape)))].map((name) => name.replace(/\?$/, ""))
    .sort();
  return Object.fromEntries([...new Set(names)].map((name) => {
    const found = objects.flatMap((shape) => [shape[name], shape[`${name}?`]].filter((item) => item !== undefined));
    const isInAll = objects.every((shape) => name in shape);
    return [
      isInAll ? name : `${name}?`,
      found.every((item) => typeof item === "string") ? found[0]! : merged(found as Shape[]),
    ];
  }));
}

const { parked, current, blocked } = PORTALS;
const ACT = ["--yes", "--reason", "ticket 17"];
const APP = ["--app", "app.ts"];

/** Command lines whose data has a shape, in this order, on one app. */
const OPERATING: readonly (readonly string[])[] = [
  ...[["status"], ["portals"], ["portal", parked.memberId], ["plan", parked.memberId], ["upgrades"]],
  ...[["check", parked.memberId], ["rehearse", parked.memberId], ["doctor"]],
  ...[["pause", ...ACT], ["status", "--watch"], ["resume", ...ACT], ["recount", ...ACT]],
  ["retry", parked.memberId, ...ACT],
  ["skip", parked.memberId, "--upgrade", "prices", ...ACT],
  ["rollback", PORTALS.alsoParked.memberId, ...ACT],
  ["set-initial-version", blocked.memberId, "--to", "2", ...ACT],
  ["set-target", current.memberId, "--to", "4", ...ACT],
  ["retry", "--status", "parked", "--expect", "9", ...ACT],
  ["batches"],
  ["forget", current.memberId, ...ACT],
  ["skip", current.memberId, "--upgrade", "prices", ...ACT],
  ["audit"],
  ["outbox"],
  ["silences", "add", "--kind", "portal_parked", "--upgrade", "prices", "--for", "2h", ...ACT],
  ["silences"],
];

const shared = (): object => ({ ...memoryStorage(), capabilities: { durable: true, scope: "host" } });

/** Returns the options of an adoption, whose second line has a problem. */
function adoption(): CliOptions {
  const old = oldProgram();
  const { row } = old.add(1);
  const lines = `${JSON.stringify(row)}\n${JSON.stringify(row)}`;
  return { stdin: lines, load: () => Promise.resolve(old.app({ storage: shared() as Storage })) };
}

/** Returns the options of command lines about a rollout that failures have paused. */
function rollout(): CliOptions {
  const storage = { ...memoryStorage(), ...{ capabilities: { durable: true, scope: "host" } } } as Storage;
  const kept: Storage = { ...storage, close: () => Promise.resolve() };
  const upgrade = (): void => {
    throw new Error("no such list");
  };
  const stages = [{ portals: 5 }, { percent: 50, forMs: 1000 }, { percent: 100 }];
  const window = { from: "00:00", to: "23:59", days: [1, 2, 3, 4, 5, 6, 7], timeZone: "UTC" };
  return {
    load: async () => {
      const { app } = codeAt("2.0.0", {
        ...{ storage: kept, upgrade, retry: { maxAttempts: 1 }, clock: () => 1_700_000_000_000 },
        rollout: { stages, window },
      });
      if (await app.admin.rollout.status() === undefined) {
        await storeInstalled(kept, memberIds(10), "1.0.0");
        await tickOut(app);
      }
      return app;
    },
  };
}

const released = rollout();
const ROLLOUT: Readonly<Record<string, CliOptions>> = {
  "status --app app.ts": released,
  "rollout status --app app.ts": released,
  "rollout resume --app app.ts": released,
};

/** Command lines that need no app, or one of their own. */
const OTHERS: Readonly<Record<string, CliOptions>> = {
  "token ada --role read": {},
  "password": { stdin: "correct horse battery" },
  "decode": {
    stdin: `event=ONAPPUNINSTALL&ts=1&data[CLEAN]=1&auth[member_id]=${
      "a".repeat(32)
    }&auth[domain]=b.bitrix24.de&auth[application_token]=c`,
  },
  "simulate open --print": {},
  "simulate update --url http://localhost/": { fetch: () => Promise.resolve(new Response("ok")) },
  "adopt - --app app.ts": adoption(),
  ...ROLLOUT,
  "copy a.ts b.ts": { load: () => Promise.resolve(shared()) },
};

describe("--json", () => {
  test("prints the shapes that programs know", async () => {
    const shapes: Record<string, Shape> = {};
    const record = (args: readonly string[], out: string): void => {
      shapes[args.filter((arg) => !/^[a-f]{32}$|^--(yes|reason)$|^ticket 17$/.test(arg)).join(" ")] = shapeOf(
        JSON.parse(out),
      );
    };
    const app = await cliApp();
    const interruption = new AbortController();
    const options: CliOptions = {
      ...app.local,
      interrupted: () => interruption.signal,
      wait: () => Promise.resolve(interruption.abort()),
    };
    for (const args of OPERATING) {
      const { code, out, err } = await cli([...args, ...APP, "--json"], options);
      // A refusal prints no data.
      if (out === "") assert.equal(code, 1, `${args}: ${err}`);
      else record(args, out);
    }
    await app.close();
    for (const [line, others] of Object.entries(OTHERS)) {
      const args = line.split(" ");
      const acts = args.includes("--app") && !args.includes("status") ? ACT : [];
      const { code, out, err } = await cli([...args, ...acts, "--json"], others);
      // A line of it has a problem.
      assert.equal(code, args[0] === "adopt" ? 1 : 0, `${line}: ${err}`);
      record(args, out);
    }
    assert.deepEqual(shapes, SHAPES);
  });
});
