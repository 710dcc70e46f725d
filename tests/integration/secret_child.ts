/** Prints a secret in every way that the runtime has; run by secret_test.ts. */
// deno-lint-ignore-file no-console
import { inspect as nodeInspect } from "node:util";
import { Secret } from "@b24/onappupdate";

const secret = new Secret("3a0f7d66007e2a1c0056b0f100000001");
const nested = { a: [{ b: new Map([["c", new Set([secret])]]) }], secret };
const inspect: (value: unknown, options?: object) => string = "Deno" in globalThis ? Deno.inspect : nodeInspect;
console.log(secret, nested);
console.log(inspect(secret));
console.log(inspect(nested, { depth: Infinity }));
console.log(inspect(nested, { showHidden: true, depth: Infinity }));
console.log(new Error(`refused ${secret}`, { cause: secret }));
