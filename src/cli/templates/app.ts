/** `upgrades.ts`, `app.ts` and `upgrades.test.ts` of a new project. */
import { type Choice, variable } from "./choice.ts";

/** Returns `upgrades.ts`. */
export function upgradesFile(): string {
  return `/** What the app does at each event, and what brings each portal to the next version. */
import { type AppOptions, createApp } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";

/** Returns the app. \`app.ts\` makes the real one, and the tests make one for each test. */
export function buildApp(options: AppOptions) {
  return createApp(options)
    .use(applicationToken())
    .use(rest())
    // For each portal that moves from a version below 2 to 2 or above. VERSION 2 of Bitrix24 is 2.0.0 here.
    .upgrade("2.0.0", async ({ b24, step, log }) => {
      // The result of a step is recorded: it does not run again after a crash.
      const { NAME } = await step("read the administrator", () => b24.call<{ NAME: string }>("user.current"));
      log.info("moved to version 2", { administrator: NAME });
      // "onappupdate rehearse" may run it: it changes nothing but by b24.
    }, { rehearsal: true })
    .on("ONAPPUNINSTALL", ({ event, confirmed, log }) => {
      // Delete the customer's data only if Bitrix24 has confirmed the removal.
      log.info("removed", { clean: event.data.clean, confirmed });
    });
}
`;
}

/** The code that opens a storage, in `app.ts`. */
interface StorageSource {
  readonly imports: readonly string[];
  /** Statements that define `storage`. */
  readonly code: (choice: Choice) => string;
}

const STORAGE_SOURCES: Readonly<Record<Choice["storage"], StorageSource>> = {
  memory: {
    imports: [],
    code: () =>
      `// Portals are forgotten when the process ends: to try things out, and nothing else.
const storage = memoryStorage();
`,
  },
  file: {
    imports: [`import { fileStorage } from "@b24/onappupdate/file-storage";`],
    code: (choice) =>
      `// One file on this host. Hosts that keep no files, such as Deno Deploy, need another storage.
const storage = fileStorage({ path: ${variable(choice, "DATABASE")} || "portals.db" });
`,
  },
  kv: {
    imports: [`import { denoKvStorage } from "@b24/onappupdate/deno-kv-storage";`],
    code: (choice) =>
      choice.runtime === "deno"
        ? `// On Deno Deploy, KV_PATH is not set: then it is the database that is assigned to the app.
const kv = await Deno.openKv(Deno.env.get("KV_PATH") || undefined);
const isDeployed = Deno.env.get("DENO_DEPLOYMENT_ID") !== undefined;
const storage = {
  ...denoKvStorage(kv, { scope: isDeployed ? "network" : "host" }),
  close: () => Promise.resolve(kv.close()), // called by app.close()
};
`
        : `const kv = await openKv(process.env.KV_PATH || "portals.kv");
const storage = {
  ...denoKvStorage(kv),
  close: () => Promise.resolve(kv.close()), // called by app.close()
};
`,
  },
  redis: {
    imports: [
      `import { redisStorage } from "@b24/onappupdate/redis-storage";`,
      `import { createClient } from "redis";`,
    ],
    code: (choice) =>
      `const client = createClient({ url: ${variable(choice, "REDIS_URL")} || "redis://127.0.0.1:6379" });
// Without it, a lost connection would end the process.
client.on("error", (error) => console.error("Redis:", error.message));
await client.connect();
// Each app on this Redis has a prefix of its own.
const storage = {
  ...redisStorage(client, { prefix: ${variable(choice, "REDIS_PREFIX")} || "${choice.name}" }),
  close: () => client.close(), // called by app.close()
};
`,
  },
  postgres: {
    imports: [
      `import { postgresStorage } from "@b24/onappupdate/postgres-storage";`,
      `import postgres from "postgres";`,
    ],
    code: (choice) =>
      `const sql = postgres(${variable(choice, "DATABASE_URL")} || "postgres://postgres@127.0.0.1:5432/postgres", {
  connect_timeout: 4,
  connection: { statement_timeout: 4000 },
});
// The table is created at the first use.
const storage = {
  ...postgresStorage(sql, { table: ${variable(choice, "DATABASE_TABLE")} || "onappupdate" }),
  close: () => sql.end({ timeout: 5 }), // called by app.close(); without a timeout, it waits for a server that is down
};
`,
  },
};

/** Returns `app.ts`. */
export function appFile(choice: Choice): string {
  const { storage, runtime } = choice;
  const { imports, code } = STORAGE_SOURCES[storage];
  const env = (name: string): string => variable(choice, name);
  const core = storage === "memory" ? "encrypted, memoryStorage" : "encrypted";
  const all = [
    `import { ${core} } from "@b24/onappupdate";`,
    ...imports,
    ...(runtime === "node" && storage === "kv" ? [`import { openKv } from "@deno/kv";`] : []),
    ...(runtime === "node" ? [`import process from "node:process";`] : []),
    `import { buildApp } from "./upgrades.ts";`,
  ];
  return `/** The app with its storage and its keys. \`main.ts\` serves it; the command line loads it: \`--app ./app.ts\`. */
${all.join("\n")}

${code(choice)}
const storageKey = ${env("STORAGE_KEY")};

export default buildApp({
  // The storage has the OAuth tokens of portals: with STORAGE_KEY, they are encrypted in it.
  storage: storageKey ? encrypted(storage, { keys: { main: storageKey }, current: "main" }) : storage,
  clientId: required("CLIENT_ID", ${env("CLIENT_ID")}),
  clientSecret: required("CLIENT_SECRET", ${env("CLIENT_SECRET")}),
  // Set by .env during development: the stand-in for Bitrix24, "onappupdate dev". Never set it in production.
  dev: ${env("ONAPPUPDATE_DEV")} || undefined,
});

function required(name: string, value: string | undefined): string {
  if (!value) throw new Error(\`\${name} is not set, see .env.example\`);
  return value;
}
`;
}

/** Returns `upgrades.test.ts`. */
export function testFile(): string {
  return `/** A fake Bitrix24 plays the portal: no network, no storage, no time. */
import { consoleLogger, memoryStorage } from "@b24/onappupdate";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import assert from "node:assert/strict";
import { test } from "node:test";
import { buildApp } from "./upgrades.ts";

const keys = { clientId: "app.test", clientSecret: "secret" };
const logger = consoleLogger({ level: "warn" }); // says why an upgrade fails

test("an update to version 2 runs its upgrade once, however often the event comes", async () => {
  const bitrix24 = fakeBitrix24({ ...keys, handler: (request) => app.fetch(request) });
  const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
  const app = buildApp({
    ...keys,
    storage: memoryStorage(),
    fetch: bitrix24.fetch,
    acknowledge: "handled", // the answer waits for the upgrade
    logger,
  });
  try {
    assert.deepEqual(await portal.sends.install(1), [200]);
    assert.deepEqual(await portal.sends.update(2, { duplicate: 1 }), [200, 200]);
    assert.equal((await app.portal(portal.memberId))?.version, "2.0.0");
    assert.equal(portal.calls().filter(({ method }) => method === "user.current").length, 1);
  } finally {
    await app.close();
  }
});

test("an event that Bitrix24 has not sent changes nothing", async () => {
  const bitrix24 = fakeBitrix24({ ...keys, handler: (request) => app.fetch(request) });
  const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
  const app = buildApp({ ...keys, storage: memoryStorage(), fetch: bitrix24.fetch, acknowledge: "handled", logger });
  try {
    await portal.sends.install(1);
    const tokens = { accessToken: "made-up-0123456789abcdef0123456789" };
    const forged = portal.forge("ONAPPUPDATE", { VERSION: "2" }, { applicationToken: "f".repeat(32), tokens });
    assert.deepEqual(await portal.send(forged), [403]);
    assert.equal((await app.portal(portal.memberId))?.version, "1.0.0");
  } finally {
    await app.close();
  }
});
`;
}
