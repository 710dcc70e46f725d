import { checkDeadline, waitFor } from "./test.ts";

/** Waits until `holds`, as long as the deadline of the test allows. `what` is named in the error of a missed deadline. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const poll = async (): Promise<void> => {
    while (!await holds()) {
      checkDeadline();
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  };
  await waitFor(what, poll());
}
