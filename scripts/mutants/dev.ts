/** Mutants of what keeps a stand-in for Bitrix24 to the developer's machine. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const DEV_TESTS = ["tests/unit/app/dev_test.ts"];

export const DEV: readonly Mutant[] = [
  ...mutantsOf("src/app/settings.ts", DEV_TESTS, [
    ["a stand-in is accepted in production", "  assertDevelopment();\n", ""],
    [
      "portals outside of the cloud are called instead of the stand-in",
      "standInFetch(dev, () => true, fetch, clientId)",
      "standInFetch(dev, isBitrix24, fetch, clientId)",
    ],
  ]),
  ...mutantsOf("src/app/startup_warnings.ts", DEV_TESTS, [
    ["an app with a stand-in does not warn", "if (dev !== undefined) {", "if (dev === null) {"],
    [
      "NODE_ENV production allows a stand-in",
      'variable("NODE_ENV") === "production"',
      'variable("NODE_ENV") === "prod"',
    ],
  ]),
  ...mutantsOf("src/net/stand_in.ts", ["tests/unit/net/stand_in_test.ts"], [
    ["any host can be a stand-in", "LOOPBACK.has(url.hostname)", 'url.hostname !== ""'],
    [
      "requests for others go to the stand-in",
      "if (!isBitrix24(address)) return await fetch(input, init);",
      "if (isBitrix24 === undefined) return await fetch(input, init);",
    ],
    ["a redirect of the stand-in is followed", 'redirect: "manual",', 'redirect: "follow",'],
  ]),
  ...mutantsOf("src/cli/dev/guard.ts", ["tests/unit/cli/dev/guard_test.ts"], [
    ["a stand-in answers by any name", "if (token === undefined && !LOOPBACK", "if (token !== undefined && !LOOPBACK"],
    ["a stand-in answers pages of other origins", "origin !== `http://${host}`", 'origin === "http://"'],
    ["a stand-in beyond the machine needs no token", "isEqual(given, token) ?", "given !== token + token ?"],
  ]),
  ...mutantsOf("src/cli/dev/html.ts", ["tests/unit/cli/dev/page_test.ts"], [
    ["the page does not escape", "replace(/[&<>\"']/g", "replace(/[&]/g"],
  ]),
];
