/** The interface of a kind of registrations. */
import type { Declaration } from "./declaration.ts";
import type { Fields, Registered } from "./listed.ts";

/** A call of a method. */
export type Command = readonly [method: string, params: object];

/** A declared registration. */
export type Declared<Key extends keyof Declaration = keyof Declaration> = Required<Declaration>[Key][number];

/** Lists, identifies, compares and changes registrations of a kind. */
export interface Kind<Key extends keyof Declaration = keyof Declaration> {
  readonly key: Key;
  /** Method that lists the registrations. */
  readonly list: string;
  /** Parses the result of `list`. */
  readonly parse: (listed: unknown) => readonly Registered[];
  /** Returns the id of a declared registration: the same as that of the {@linkcode Registered} one. */
  readonly id: (declared: Declared<Key>) => string;
  /** Returns whether a registration with another id is the declared one. */
  readonly isSame?: (declared: Declared<Key>, registered: Fields) => boolean;
  /** Returns whether a listed field differs from the declared one. */
  readonly differs?: (declared: Declared<Key>, registered: Fields) => boolean;
  /** Returns whether the registration can differ in fields that Bitrix24 does not list. */
  readonly hasUnlistedFields?: (declared: Declared<Key>) => boolean;
  readonly add: (declared: Declared<Key>) => Command;
  /** Absent if registrations of the kind have no fields besides those that identify them. */
  readonly update?: (declared: Declared<Key>, registered: Fields) => readonly Command[];
  /** Returns the command to run if adding fails because the registration exists. Absent: none is needed. */
  readonly ifExists?: (declared: Declared<Key>) => Command;
  readonly remove: (registered: Fields) => Command;
  /** The list contains registrations of other apps. */
  readonly listsOtherApps?: true;
}

/** Returns the parameters that are not `undefined`. */
export function withoutUndefined(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
