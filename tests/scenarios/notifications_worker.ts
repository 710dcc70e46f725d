/**
 * A process that parks a portal and notifies a server of it, and kills itself once the server has the notification.
 *
 *     notifications_worker.ts <file> <address> kill|go-on
 */
import process from "node:process";
import { type Channel, notifications } from "@b24/onappupdate/notifications";
import { fileStorage } from "@b24/onappupdate/file-storage";
import { NonRetriableError } from "@b24/onappupdate";
import { codeAt, memberIds, storeInstalled } from "../support/rollout.ts";

const [, , path = "", address = "", part = ""] = process.argv;
const storage = fileStorage({ path });
let ahead = part === "kill" ? 0 : 60 * 60_000;

const channel: Channel = {
  name: "hook",
  send: async (message, { id, signal }) => {
    await (await fetch(address, { method: "POST", body: JSON.stringify({ id, message }), signal })).body?.cancel();
    if (part !== "kill") return;
    process.kill(process.pid, "SIGKILL");
    // The signal may arrive a moment later: nothing may happen until then.
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0);
  },
};

if (part === "kill") await storeInstalled(storage, memberIds(1), "1.0.0");
const { app } = codeAt("2.0.0", {
  ...{ storage, clock: () => Date.now() + ahead, plugins: [notifications({ channels: [channel] })] },
  upgrade: () => {
    throw new NonRetriableError("no such list");
  },
});
for (let tick = 0; tick < 10; tick++) {
  await app.tick();
  ahead += 60_000;
}
await app.close();
