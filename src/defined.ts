/** Object literals without undefined members, as `exactOptionalPropertyTypes` requires. */

/** `T` with its members that may be `undefined` made optional. */
export type Defined<T extends object> =
  & { [K in keyof T as undefined extends T[K] ? never : K]: T[K] }
  & { [K in keyof T as undefined extends T[K] ? K : never]?: Exclude<T[K], undefined> };

/** Returns `members` without those that are `undefined`. Usage: `{ a, ...defined({ b, c }) }`. */
export function defined<T extends object>(members: T): Defined<T> {
  return Object.fromEntries(Object.entries(members).filter(([, value]) => value !== undefined)) as Defined<T>;
}
