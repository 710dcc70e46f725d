/** Apps that the command line has loaded: they are set up, and never start. */
import { isInert } from "../net/runtime.ts";
import type { StorageCapabilities } from "../storage/storage.ts";

/** @throws {TypeError} if the command line has loaded this module */
export function assertMayStart(action: string): void {
  if (!isInert()) return;
  throw new TypeError(
    `cannot ${action}: the command line has loaded this module, and its apps do not start. ` +
      "Export the app by default from a module of its own, such as app.ts, and start it in another one, such as main.ts",
  );
}

/** @throws {TypeError} if the command line has loaded this module, and would see a storage of its own */
export function assertStorageIsShared({ name, capabilities }: {
  readonly name: string;
  readonly capabilities: Pick<StorageCapabilities, "scope">;
}): void {
  if (!isInert() || capabilities.scope !== "process") return;
  throw new TypeError(
    `cannot set the app up in the command line: the storage ${JSON.stringify(name)} belongs to one process, ` +
      "so another one sees it empty; use --url and the operator API",
  );
}
