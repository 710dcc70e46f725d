/** Mutants of `src/intake/`. */
import { type Mutant, mutantsOf } from "./mutant.ts";

export const INTAKE: readonly Mutant[] = [
  ...mutantsOf("src/intake/accept.ts", ["tests/unit/intake/accept_test.ts"], [
    [
      "an event that cannot be verified now is refused",
      "if (!(error instanceof CannotVerifyError)) throw error;",
      "if (error instanceof Error) throw error;",
    ],
    [
      "a token pair whose proof the portal has waits for the next write that opens the record",
      'pending !== undefined) ? undefined : "unopened"',
      'pending === null) ? undefined : "unopened"',
      { tests: ["tests/unit/credentials/provider_test.ts"] },
    ],
    [
      "life-cycle events of any size are taken",
      "length <= MAX_LIFE_CYCLE_SIZE) return;",
      "length <= MAX_LIFE_CYCLE_SIZE * 100) return;",
    ],
    [
      "an event raises the target of a portal without work",
      "isStored = !bringsWork(current, next);",
      "isStored = true;",
      { scenarios: ["a removal"] },
    ],
    [
      "what is verified of an event is lost if the inbox is full",
      "if (error instanceof InboxFullError) await storeTokens(runtime, event, facts, known);",
      "",
    ],
    [
      "a lower version is not reported",
      "compareVersions(to, from) >= 0) return;",
      "compareVersions(to, from) >= -1) return;",
      { tests: ["tests/unit/app/app_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/intake/store_delivery.ts", ["tests/unit/worker/process_delivery_test.ts"], [
    [
      "an equal event whose first copy has begun is dropped",
      "stored = isBusy && !isLifeCycle(id) ? `${id}~${unique}` : id;",
      'stored = unique === "" ? `${id}~${unique}` : id;',
    ],
    [
      "copies of a waiting event are stored",
      "(inRecord(current, id) !== undefined && (isLifeCycle(id) || !isBusy))",
      "(inRecord(current, id) !== undefined && isLifeCycle(id) && isBusy && !isBusy)",
      { tests: ["tests/unit/app/app_test.ts"] },
    ],
    [
      "the lease is taken although no slot is free",
      "const taken = slot?.isHeld() ? takeLease",
      'const taken = unique !== "" ? takeLease',
      { tests: ["tests/unit/worker/worker_test.ts"] },
    ],
    [
      "the tokens of a removal are stored",
      'return event.name === "ONAPPUNINSTALL"\n    ? { ...parseStored',
      'return event.name === "ONAPPTEST"\n    ? { ...parseStored',
      { tests: ["tests/unit/app/app_test.ts"] },
    ],
    [
      "an ordinary event is idle although handlers wait for it",
      "next === undefined || hasCode(runtime, event)) return false;",
      "next === undefined) return false;",
      { tests: ["tests/unit/intake/accept_test.ts"] },
    ],
    [
      "the installation of a delivery is not stored with it",
      '...(status === "installed" ? { generation } : {}),',
      '...(status === "installed" ? { generation: generation + 1 } : {}),',
      { reason: "the work of the removal deletes the deliveries from before it" },
    ],
  ]),
  ...mutantsOf("src/intake/open.ts", ["tests/unit/intake/open_test.ts"], [
    [
      "an opening of the process with a clock ahead makes a removal late",
      "clock() - MAX_CLOCK_ERROR_MS",
      "clock() - MAX_CLOCK_ERROR_MS * 0",
      { tests: ["tests/unit/intake/clocks_test.ts"] },
    ],
    ["an answer from before a removal undoes it", "askedSince: isNew ? clock() : 0", "askedSince: 0"],
    [
      "tokens of ordinary users are stored by openings",
      "isAdmin !== true ? {} : {\n    tokens",
      "isAdmin === null ? {} : {\n    tokens",
    ],
    ["an ordinary user starts an installation", ": isAdmin\n      ? await", ": isAdmin !== null\n      ? await"],
  ]),
  ...mutantsOf("src/app/tickets.ts", ["tests/unit/intake/open_test.ts"], [
    [
      "the ticket of a page is valid for as long as it asks",
      "if (isYoung || now - value.issuedAt > MAX_TICKET_MS) return;",
      "if (isYoung) return;",
    ],
    ["two users share a ticket", "        accessToken.reveal(),\n", ""],
  ]),
  ...mutantsOf("src/intake/verify_opening.ts", ["tests/unit/intake/open_test.ts"], [
    [
      "an opening of another portal's token is taken",
      "if (outcome.memberId !== opening.memberId) {",
      'if (outcome.memberId === "") {',
    ],
    [
      "an opening of another app's token is taken",
      "if (!new Secret(outcome.clientId).equals(clientId)) {",
      'if (new Secret(outcome.clientId).equals("")) {',
    ],
  ]),
  ...mutantsOf("src/intake/token_answers.ts", ["tests/unit/intake/open_test.ts"], [
    [
      "a refused opening is asked about each time",
      "const counts = found !== undefined && found.until > clock() &&",
      "const counts = found !== undefined && !(found.outcome instanceof Error) && found.until > clock() &&",
    ],
    [
      "openings use up the budget although nothing is forged",
      "budget().giveBack(memberId, isKnown, requests);",
      "void requests;",
    ],
    [
      "openings have no budget",
      "while (!budget().take(memberId, isKnown, requests)) {",
      'while (!budget().take(memberId, isKnown, requests) && memberId === "") {',
    ],
  ]),
  ...mutantsOf("src/intake/http.ts", ["tests/unit/intake/http_test.ts"], [
    [
      "a content-encoding of any length is quoted",
      "length > 24",
      "length > 2400",
    ],
    [
      "a Host header that no URL can have ends in an unhandled error",
      "request.body === null && URL.canParse(request.url) &&",
      "request.body === null &&",
      { tests: ["tests/unit/plugins/hosts_test.ts"] },
    ],
  ]),
  ...mutantsOf("src/intake/full_inbox.ts", ["tests/unit/intake/accept_test.ts"], [
    ["a full inbox is logged each time", "if (logged.isHeld(memberId)) return;", ""],
  ]),
];
