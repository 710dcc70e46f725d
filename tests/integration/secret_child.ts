/** Prints a secret in every way that only Deno has; run by secret_test.ts. */
// deno-lint-ignore-file no-console
import { Secret } from "@b24/onappupdate";

const secret = new Secret("3a0f7d66007e2a1c0056b0f100000001");
const nested = { a: [{ b: new Map([["c", new Set([secret])]]) }], secret };
console.log(secret, nested);
console.log(Deno.inspect(secret));
console.log(Deno.inspect(nested, { depth: Infinity }));
console.log(Deno.inspect(nested, { showHidden: true, depth: Infinity }));
console.log(new Error(`refused ${secret}`, { cause: secret }));
