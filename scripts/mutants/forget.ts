/** Mutants of `admin.forget`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const FORGET: readonly Mutant[] = [
  ...mutantsOf("src/app/admin/forget.ts", ["tests/unit/app/forget_test.ts"], [
    [
      "a portal is forgotten at a time before what its record has seen",
      "Math.floor(receivedAfter(record, at) / 1000)",
      "Math.floor(at / 1000)",
    ],
    [
      "an event that is stored while its portal is forgotten keeps its tokens",
      "    await removeUnverifiedBefore(runtime, memberId, at);\n",
      "",
    ],
    [
      "events that a process received whose clock is ahead outlive forget()",
      "removeUnverifiedBefore(runtime, memberId, Infinity);",
      "removeUnverifiedBefore(runtime, memberId, at);",
    ],
    [
      "what plugins store about a portal outlives forget()",
      "for (const { name } of runtime.plugins) await deleteAll(",
      "for (const { name } of runtime.plugins.slice(0, 0)) await deleteAll(",
    ],
  ]),
];
