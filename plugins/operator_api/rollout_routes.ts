/** Routes on the rollouts of versions. */
import type { Attribution, AuditedAction, RolloutChanges } from "../../mod.ts";
import { redact } from "../../mod.ts";
import { VersionError } from "../../errors.ts";
import { ApiError, invalid, versionIssue } from "./api_error.ts";
import { VERSION } from "./parameters.ts";
import { CHANGES, ROLLOUT } from "./rollout_shapes.ts";
import { type Call, type Route, route, type Row } from "./route.ts";
import { object, type ObjectSchema, optional } from "./schema.ts";
import { flag, text } from "./values.ts";

/** The answer of an action: the version whose rollout was meant. */
const ACTED: ObjectSchema = object<{ readonly target: string }>({ target: text });

type Action = "set" | "pause" | "resume" | "promote" | "abort";

/** Makes the route of an action on a rollout. */
function action<Body extends object = object>(
  name: Action,
  row: Pick<Row<object, Body>, "path" | "summary" | "body">,
  run: (rollout: Call["admin"]["rollout"], target: string, body: Body, attribution: Attribution) => Promise<void>,
): Route {
  return route<object, Body>({
    ...{ ...row, method: "POST", id: `${name}Rollout`, role: "operate" },
    action: `rollout.${name}` satisfies AuditedAction,
    answer: ACTED,
    run: async ({ admin, target, body, attribution }) => {
      await checked(() => run(admin.rollout, target, body, attribution));
      return { target };
    },
  });
}

/** Runs `body`, whose target is a parameter. @throws {ApiError} 400, if what was passed is invalid */
async function checked<T>(body: () => Promise<T>): Promise<T> {
  try {
    return await body();
  } catch (error) {
    if (error instanceof VersionError) throw invalid([versionIssue(error, "target")]);
    if (error instanceof TypeError && error.message.startsWith("cannot change the rollout ")) {
      throw new ApiError(400, { code: "invalid", message: redact(error.message) });
    }
    throw error;
  }
}

/** The routes. */
export const ROLLOUT_ROUTES: readonly Route[] = [
  route<{ readonly target?: string }>({
    ...{ method: "GET", path: "/rollout", id: "getRollout", role: "read" },
    summary: "Returns the rollout of a version; by default, the running one of the highest version",
    query: object<{ readonly target?: string }>({ target: optional(VERSION) }),
    answer: object<{ readonly rollout?: unknown }>({ rollout: optional(ROLLOUT) }),
    run: async ({ admin, query: { target } }) => ({
      rollout: await checked(() => admin.rollout.status(target)),
    }),
  }),
  action<RolloutChanges>("set", {
    path: "/rollout/{target}",
    summary: "Changes the options of a rollout; those that are left out stay as they are",
    body: CHANGES,
  }, (rollout, target, changes, attribution) => rollout.set(target, changes, attribution)),
  action("pause", {
    path: "/rollout/{target}/pause",
    summary: "Pauses a rollout: no upgrade begins and none is retried",
  }, (rollout, target, _, attribution) => rollout.pause(target, attribution)),
  action<{ readonly retryParked?: boolean }>(
    "resume",
    {
      path: "/rollout/{target}/resume",
      summary: "Ends the pause of a rollout, and counts failures from zero",
      body: object<{ readonly retryParked?: boolean }>({
        retryParked: optional({ ...flag, description: "Also retry the parked portals of the rollout" }),
      }),
    },
    (rollout, target, { retryParked = false }, attribution) => rollout.resume(target, { ...attribution, retryParked }),
  ),
  action<{ readonly stage?: number }>("promote", {
    path: "/rollout/{target}/promote",
    summary: "Begins the next stage of a rollout",
    body: object<{ readonly stage?: number }>({
      stage: optional({
        ...{ type: "integer", minimum: 1 },
        description:
          "The stage that you have seen as the present one, from 1. If another one is by now, nothing is done",
      }),
    }),
  }, (rollout, target, body, attribution) => rollout.promote(target, { ...body, ...attribution })),
  action("abort", {
    path: "/rollout/{target}/abort",
    summary: "Ends a rollout for good",
  }, (rollout, target, _, attribution) => rollout.abort(target, attribution)),
];
