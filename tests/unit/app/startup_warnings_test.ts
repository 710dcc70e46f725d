import assert from "node:assert/strict";
import { encrypted, memoryStorage, type Storage } from "@b24/onappupdate";
import type { StorageCapabilities } from "@b24/onappupdate/storage";
import { startWarnings } from "../../../src/app/startup_warnings.ts";
import { post, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const MEMORY: StorageCapabilities = { durable: false, scope: "process" };
const FILE: StorageCapabilities = { durable: true, scope: "host" };
const SHARED: StorageCapabilities = { durable: true, scope: "network" };

function storageOf(capabilities: StorageCapabilities): Storage {
  return { ...memoryStorage(), name: "mine", capabilities };
}

/** The warnings as `what they are about: where`. */
function warned(capabilities: StorageCapabilities, variables: Record<string, string> = {}, isWorker = false): string[] {
  const variable = (name: string): string | undefined => variables[name];
  return startWarnings(storageOf(capabilities), { variable, isWorker }).map(({ message, fields }) => {
    assert.equal(fields["storage"], "mine");
    const [about] = /in this process alone|on this host alone|encrypted\(\)/.exec(message)!;
    const topics = { "in this process alone": "instances", "on this host alone": "lost", "encrypted()": "readable" };
    return [topics[about as keyof typeof topics], fields["place"]].filter(Boolean).join(": ");
  });
}

describe("startWarnings()", () => {
  const places: readonly (readonly [variables: Record<string, string>, place: string, losesFiles: boolean])[] = [
    [{ DENO_DEPLOYMENT_ID: "k2x9" }, "Deno Deploy", true],
    [{ AWS_LAMBDA_FUNCTION_NAME: "b24" }, "AWS Lambda", true],
    [{ K_SERVICE: "b24" }, "Cloud Run", true],
    [{ K_SERVICE: "b24", KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "Cloud Run", true],
    [{ DYNO: "web.1" }, "Heroku", true],
    [{ KUBERNETES_SERVICE_HOST: "10.0.0.1" }, "Kubernetes", false],
    [{ K_SERVICE: "", NODE_APP_INSTANCE: "1" }, "one of several processes of this host", false],
  ];
  for (const [variables, place, losesFiles] of places) {
    const names = Object.entries(variables).map((variable) => variable.join("=")).join(" and ");
    it(`knows ${place} by ${names}, and which storage is wrong there`, () => {
      assert.deepEqual(warned(MEMORY, variables), [`instances: ${place}`]);
      assert.deepEqual(warned(FILE, variables), [...(losesFiles ? [`lost: ${place}`] : []), "readable"]);
      assert.deepEqual(warned({ ...FILE, encrypted: true }, variables), losesFiles ? [`lost: ${place}`] : []);
      assert.deepEqual(warned({ ...SHARED, encrypted: true }, variables), []);
    });
  }

  it("knows a worker of node:cluster", () => {
    assert.deepEqual(warned(MEMORY, {}, true), ["instances: one of several processes of this host"]);
    assert.deepEqual(warned({ ...FILE, encrypted: true }, {}, true), []);
  });

  it("takes the first process of PM2 for the only one", () => {
    for (const number of ["0", ""]) assert.deepEqual(warned(MEMORY, { NODE_APP_INSTANCE: number }), []);
  });

  it("has nothing against a storage of one process where nothing says that there are more", () => {
    assert.deepEqual(warned(MEMORY), []);
  });

  it("says of a storage that outlives the process, or is shared, that it can be read", () => {
    assert.deepEqual(warned(FILE), ["readable"]);
    assert.deepEqual(warned(SHARED), ["readable"]);
    assert.deepEqual(warned({ ...MEMORY, durable: true }), ["readable"]);
    assert.deepEqual(warned({ ...SHARED, durable: false }), ["readable"]);
    assert.deepEqual(warned({ ...SHARED, encrypted: false }), ["readable"]);
    assert.deepEqual(warned({ ...SHARED, encrypted: true }), []);
  });
});

describe("an app that starts", () => {
  const readable = (lines: readonly string[]): string[] => lines.filter((line) => line.includes("encrypted()"));

  it("warns once, at its start, that what it stores can be read", async () => {
    const { app, lines, send, portal } = rig({ storage: storageOf(FILE) });
    assert.deepEqual(readable(lines), []);
    await Promise.all([app.start(), app.start()]);
    await app.tick();
    assert.equal(await send(portal.install(1)), 200);
    assert.deepEqual(readable(lines).map((line) => JSON.parse(line)), [{
      level: "warn",
      message:
        "OAuth tokens of portals and events that wait can be read by whoever can read the storage; encrypted() of " +
        "this package encrypts what is stored",
      storage: "mine",
    }]);
    await app.close();
  });

  it("warns at its first request when it was not started before", async () => {
    const { app, lines } = rig({ storage: storageOf(FILE) });
    await app.fetch(post(""));
    assert.equal(readable(lines).length, 1);
    await app.close();
  });

  it("does not warn of an encrypted storage", async () => {
    const storage = encrypted(storageOf(FILE), { keys: { a: new Uint8Array(32) }, current: "a" });
    const { app, lines } = rig({ storage });
    await app.start();
    assert.deepEqual(readable(lines), []);
    await app.close();
  });
});
