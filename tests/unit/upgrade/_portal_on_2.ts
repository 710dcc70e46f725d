/** A portal on version 2 and an app with an upgrade to 3. */
import { rig } from "../../support/app.ts";

type Upgrade = ReturnType<typeof rig>["app"]["upgrade"];

type Portal2 = ReturnType<typeof rig> & {
  /** Sends the event of the update to version 3. */
  readonly update: () => Promise<number>;
  /** Moves the clock past all delays, and ticks. */
  readonly retry: () => Promise<object>;
};

/** Returns a portal on version 2, and an app whose upgrade to 3 is `handler`. */
export async function portalOn2(
  handler: Parameters<Upgrade>[1],
  options: Parameters<Upgrade>[2] = {},
  appOptions: Parameters<typeof rig>[0] = {},
): Promise<Portal2> {
  const made = rig(appOptions);
  made.app.upgrade("3", handler, options);
  await made.send(made.portal.install(2));
  return {
    ...made,
    update: () => made.send(made.portal.update(3)),
    retry: () => {
      made.later();
      return made.app.tick();
    },
  };
}
