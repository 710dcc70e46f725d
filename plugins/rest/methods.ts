/** Names of REST methods. */
import { isReadMethod } from "../../mod.ts";

/** @throws {TypeError} if it is not the name of a method: the name becomes part of a URL */
export function assertMethod(method: string): void {
  if (typeof method === "string" && /^[a-z]\w*(\.\w+)*$/i.test(method)) return;
  const hint = String(method).startsWith("api/")
    ? "; methods of REST 3.0 are called by b24.v3.call(), without api/"
    : "";
  throw new TypeError(
    `cannot call ${JSON.stringify(method)}, wanted the name of a method, such as "crm.deal.list"${hint}`,
  );
}

/** Whether it is the method `batch`, which has its own function. */
export function isBatch(method: string): boolean {
  return method.toLowerCase() === "batch";
}

/** Whether a method of REST 3.0 only reads, judged by its name. */
export function isV3Read(method: string): boolean {
  return isReadMethod(`api/${method}`);
}
