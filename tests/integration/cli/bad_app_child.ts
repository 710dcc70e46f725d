/** Modules that `--app` refuses, by the environment. */
import { createServer } from "node:http";
import { connect } from "node:net";
import process from "node:process";
import { createApp, memoryStorage } from "@b24/onappupdate";
import { StorageError } from "@b24/onappupdate/errors";
import { redisStorage } from "@b24/onappupdate/redis-storage";
import pg from "pg";
import postgres from "postgres";
import { createClient } from "redis";
import { trustAll } from "../../support/app.ts";

const app = createApp({ storage: memoryStorage() }).use(trustAll);
const what = process.env["TEST_MISTAKE"];
if (what === "starts") await app.start();
if (what === "listens") createServer().listen(0);
if (what === "serves on Deno") "Deno" in globalThis ? Deno.serve({ port: 0 }, app.fetch) : createServer().listen(0);
// As a client whose connection nobody closes.
if (what === "throws with a connection open") setInterval(() => {}, 60_000);
if (what?.startsWith("throws")) throw new Error("CLIENT_SECRET is not set");

// Nothing listens there.
const CLOSED = "127.0.0.1:2";
const redis = () => createClient({ url: `redis://${CLOSED}`, socket: { reconnectStrategy: false } });
const unreachable: Readonly<Record<string, () => Promise<unknown>>> = {
  "redis": () => redis().on("error", () => {}).connect(),
  "postgres": () => postgres(`postgres://${CLOSED}/none`)`select 1`,
  "pg": () => new pg.Client({ connectionString: `postgres://${CLOSED}/none` }).connect(),
  "fetch": () => fetch(`http://${CLOSED}/`),
  "a name that does not exist": () => fetch("http://none.invalid/"),
  "two addresses": () =>
    Promise.reject(new AggregateError([Object.assign(new Error(`connect ${CLOSED}`), { code: "ECONNREFUSED" })])),
  "a cause": () => Promise.reject(new Error("cannot set up", { cause: new StorageError("the storage is down") })),
  "a socket without a listener": () => new Promise(() => connect(2, "127.0.0.1")),
  "set-up": async () => {},
};
await unreachable[what ?? ""]?.();
const inner = memoryStorage();
const shared = (parts: object) =>
  createApp({ storage: { ...inner, capabilities: { ...inner.capabilities, scope: "host" }, ...parts } }).use(trustAll);
const never = (): Promise<never> => new Promise(() => {});
const client = redis().on("error", () => {});
const apps: Readonly<Record<string, () => unknown>> = {
  "set-up": () => createApp({ storage: redisStorage(client, { prefix: "none" }) }).use(trustAll),
  "never closes": () => shared({ close: never }),
  "never answers": () =>
    shared({
      list: async function* (): AsyncGenerator<never> {
        yield await never();
      },
    }),
};
export default apps[what ?? ""]?.() ?? app;
