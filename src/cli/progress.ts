/** Progress bars on a terminal. */
// @ts-types="@types/cli-progress"
import { SingleBar } from "cli-progress";
import type { WriteStream } from "node:tty";
import type { ProgressBar } from "./terminal.ts";

/** Starts a bar on `stream`; on anything but a terminal, one that prints nothing. */
export function progressBar(
  stream: WriteStream,
  label: string,
  total: number | undefined,
): ProgressBar {
  if (stream.isTTY !== true) return { update: () => {}, stop: () => {} };
  const format = (known: boolean): string => known ? `${label} {bar} {value} of {total}` : `${label} {value}`;
  const bar = new SingleBar({
    stream,
    format: format(total !== undefined),
    barCompleteChar: "█",
    barIncompleteChar: "░",
    barsize: 30,
    hideCursor: true,
    clearOnComplete: false,
  });
  bar.start(total ?? 0, 0);
  return {
    update: (done, newTotal) => {
      if (newTotal !== undefined) bar.setTotal(newTotal);
      bar.update(done);
    },
    stop: () => bar.stop(),
  };
}
