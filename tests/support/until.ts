/** Waits until `holds`, or fails after 30 seconds. */
export async function until(what: string, holds: () => boolean | Promise<boolean>): Promise<void> {
  const end = Date.now() + 30_000;
  while (!await holds()) {
    if (Date.now() > end) throw new Error(`saw 30 seconds pass, wanted that ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}
