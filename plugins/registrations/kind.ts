/** What there is to know of a kind of registrations. */
import type { Declaration } from "./declaration.ts";
import type { Fields, There } from "./listed.ts";

/** A call of a method. */
export type Command = readonly [method: string, params: object];

/** One that is declared. */
export type Declared<Key extends keyof Declaration = keyof Declaration> = Required<Declaration>[Key][number];

/** How registrations of a kind are listed, known, compared and changed. */
export interface Kind<Key extends keyof Declaration = keyof Declaration> {
  readonly key: Key;
  /** The method that lists them. */
  readonly list: string;
  readonly there: (listed: unknown) => readonly There[];
  /** What one is known by; the same as that of {@linkcode There}. */
  readonly id: (one: Declared<Key>) => string;
  /** Whether one that is known by something else is this one all the same. */
  readonly isAlso?: (one: Declared<Key>, there: Fields) => boolean;
  /** Whether Bitrix24 lists it otherwise than it is declared. */
  readonly differs?: (one: Declared<Key>, there: Fields) => boolean;
  /** Whether it may have changed in what Bitrix24 does not list. */
  readonly isUnseen?: (one: Declared<Key>) => boolean;
  readonly add: (one: Declared<Key>) => Command;
  /** Absent where there is nothing to it but what it is known by. */
  readonly update?: (one: Declared<Key>, there: Fields) => readonly Command[];
  /** What to do when adding it was answered that it is there; absent where that is well. */
  readonly otherwise?: (one: Declared<Key>) => Command;
  readonly remove: (there: Fields) => Command;
  /** The list has registrations of others. */
  readonly hasOthers?: true;
}

/** Parameters without those that were left out. */
export function given(params: Readonly<Record<string, unknown>>): Record<string, unknown> {
  return Object.fromEntries(Object.entries(params).filter(([, value]) => value !== undefined));
}
