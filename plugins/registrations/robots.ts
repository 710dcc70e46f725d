/** Robots and activities of business processes. They differ only in the names of their methods. */
import { type Command, type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { codes } from "./listed.ts";

type Key = "robots" | "activities";

/** The kind of robots. */
export const robots: Kind<Key> = bizprocKind("robots", "bizproc.robot");

/** The kind of activities. */
export const activities: Kind<Key> = bizprocKind("activities", "bizproc.activity");

function bizprocKind(key: Key, methods: string): Kind<Key> {
  const update = (robot: Declared<Key>): Command => [`${methods}.update`, { CODE: robot.code, FIELDS: fields(robot) }];
  return {
    key,
    list: `${methods}.list`,
    parse: codes,
    id: ({ code }) => code,
    hasUnlistedFields: () => true,
    add: (declared) => [`${methods}.add`, { CODE: declared.code, ...fields(declared) }],
    update: (declared) => [update(declared)],
    ifExists: update,
    remove: ({ CODE }) => [`${methods}.delete`, { CODE }],
  };
}

function fields({ handler, name, userId, params = {} }: Declared<Key>): object {
  const more = Object.entries(params).map(([key, value]) => [
    key,
    // Bitrix24 expects Y and N here.
    typeof value === "boolean" ? (value ? "Y" : "N") : value,
  ]);
  return withoutUndefined({ HANDLER: handler, NAME: name, AUTH_USER_ID: userId, ...Object.fromEntries(more) });
}
