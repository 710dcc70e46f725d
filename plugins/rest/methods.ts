/** What names of methods say. */

/** @throws {TypeError} when it is no name: names go into addresses */
export function assertMethod(method: string): void {
  if (/^[a-z]\w*(\.\w+)*$/i.test(method)) return;
  throw new TypeError(`cannot call ${JSON.stringify(method)}, wanted the name of a method, such as "crm.deal.list"`);
}

/** Whether it is the method that does others, which has a function of its own. */
export function isBatch(method: string): boolean {
  return method.toLowerCase() === "batch";
}

const READ = /(^|\.)(get|list|fields|getlist|getfields|current|info|profile|time|scope|methods|events)$/i;

/** Whether a method only reads. */
export function isRead(method: string): boolean {
  // Takes the events that it gives off the queue.
  return READ.test(method) && method.toLowerCase() !== "event.offline.get";
}
