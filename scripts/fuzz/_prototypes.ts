/** Returns every property of the prototypes that a decoder could reach; two results differ if one was polluted between. */
export function prototypes(): readonly unknown[] {
  return [Object, Array, String, Number, Function, Map].flatMap(({ prototype }) => [
    Object.getPrototypeOf(prototype),
    ...Reflect.ownKeys(prototype).flatMap((key) => [
      key,
      ...Object.values(Object.getOwnPropertyDescriptor(prototype, key)!),
    ]),
  ]);
}
