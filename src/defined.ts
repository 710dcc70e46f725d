/** Object literals without undefined members, as `exactOptionalPropertyTypes` requires. */

/** `T` with its members that may be `undefined` made optional. */
export type Defined<T extends object> =
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** Returns `members` without those that are `undefined`. Usage: `{ a, ...defined({ b, c }) }`. */
export function defined<T extends object>(members: T): Defined<T> {
  // A loop, because this runs several times for each event, and Object.fromEntries() is slow.
  const kept = {} as T;
  for (const key in members) {
    if (members[key] !== undefined) kept[key] = members[key];
  }
  return kept as unknown as Defined<T>;
}
