/** Robots and activities of business processes: the same but for the names of their methods. */
import { type Command, type Declared, given, type Kind } from "./kind.ts";
import { codes } from "./listed.ts";

type Key = "robots" | "activities";

/** Robots. */
export const robots: Kind<Key> = kind("robots", "bizproc.robot");

/** Activities. */
export const activities: Kind<Key> = kind("activities", "bizproc.activity");

function kind(key: Key, methods: string): Kind<Key> {
  const update = (one: Declared<Key>): Command => [`${methods}.update`, { CODE: one.code, FIELDS: fields(one) }];
  return {
    key,
    list: `${methods}.list`,
    there: codes,
    id: ({ code }) => code,
    isUnseen: () => true,
    add: (one) => [`${methods}.add`, { CODE: one.code, ...fields(one) }],
    update: (one) => [update(one)],
    otherwise: update,
    remove: ({ CODE }) => [`${methods}.delete`, { CODE }],
  };
}

function fields({ handler, name, userId, params = {} }: Declared<Key>): object {
  const more = Object.entries(params).map(([key, value]) => [
    key,
    // Words to Bitrix24, for which 1 is neither.
    typeof value === "boolean" ? (value ? "Y" : "N") : value,
  ]);
  return given({ HANDLER: handler, NAME: name, AUTH_USER_ID: userId, ...Object.fromEntries(more) });
}
