/**
 * Charges rejections of promises that nothing awaits to the work that has left them. By default, such a rejection ends the
 * process, and with it the work of all portals in it.
 */
import { createAsyncContext, onUnhandledRejection } from "../net/runtime.ts";

/** Receives the reason of a rejection that its work has left unhandled. */
type Charge = (reason: unknown) => void;

const charges = createAsyncContext<Charge>();

/** Number of apps that have called {@linkcode chargeUnhandledRejections}: they share one listener. */
let users = 0;
let stopListening = (): void => {};

/** Runs `work`. Rejections that it leaves unhandled, also after its end, are passed to `onRejection`. */
export function charge<T>(onRejection: Charge, work: () => T): T {
  return charges.run(onRejection, work);
}

/** Begins to charge unhandled rejections in this process. Returns a function that ends it. */
export function chargeUnhandledRejections(): () => void {
  if (users++ === 0) {
    stopListening = onUnhandledRejection((reason) => {
      const charge = charges.getStore();
      charge?.(reason);
      return charge !== undefined;
    });
  }
  let isUser = true;
  return () => {
    if (isUser && --users === 0) stopListening();
    isUser = false;
  };
}
