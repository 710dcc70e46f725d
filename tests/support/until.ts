import { checkDeadline, waitFor } from "./test.ts";

/**
 * Waits until `holds`, which is asked every `everyMs` milliseconds, as long as the deadline of the test allows. `what` is
 * named in the error of a missed deadline.
 */
export async function until(
  what: string | (() => string),
  holds: () => boolean | Promise<boolean>,
  everyMs = 20,
): Promise<void> {
  const poll = async (): Promise<void> => {
    while (!await holds()) {
      checkDeadline();
      await new Promise((resolve) => setTimeout(resolve, everyMs));
    }
  };
  await waitFor(what, poll());
}
