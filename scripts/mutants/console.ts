/** Mutants of the console: its guard, its actions and its streams. */
import { type Mutant, mutantsOf } from "./mutant.ts";

const FOLDER = "tests/unit/plugins/operator_console";
const CODE = "plugins/operator_console";
const REQUESTS = [`${FOLDER}/requests_test.ts`];
const SIGN_IN = [`${FOLDER}/sign_in_test.ts`];
const PASSWORDS = [`${FOLDER}/passwords_test.ts`];
const ACTING = [`${FOLDER}/acting_test.ts`];
const LIVE = [`${FOLDER}/live_test.ts`];

export const CONSOLE: readonly Mutant[] = [
  ...mutantsOf(`${CODE}/same_origin.ts`, REQUESTS, [
    ["a form of a page on a sibling host acts", ' && headers.get("sec-fetch-site") === "same-origin"', ""],
    ["a form of another origin acts", 'headers.get("origin") === origin && ', ""],
  ]),
  ...mutantsOf(`${CODE}/handler.ts`, REQUESTS, [
    ["a link of another site causes an export", "      assertOwnLink(request);\n", ""],
  ]),
  ...mutantsOf(`${CODE}/views.ts`, REQUESTS, [
    ["a customer turns the text of a page around", '.replaceAll(DIRECTION, " ")', ""],
  ]),
  ...mutantsOf(`${CODE}/form.ts`, REQUESTS, [
    ["dots lead to another host", 'pathname.startsWith("//") ? "/" : ', ""],
    ["two slashes are a path", "(?!\\/)", ""],
  ]),
  ...mutantsOf(`${CODE}/sessions.ts`, SIGN_IN, [
    [
      "a session lasts as long as it is used",
      "Math.min(createdAt + MAX_AGE_MS, seenAt + MAX_IDLE_MS)",
      "seenAt + MAX_IDLE_MS",
    ],
    ["a page that was left open keeps its session", "isUse && clock()", "clock()"],
    ["a token is stored as it is", 'createHash("sha256").update(token).digest("hex")', "token"],
  ]),
  ...mutantsOf(`${CODE}/sign_in.ts`, SIGN_IN, [
    ["a changed password or role ends no session", "JSON.stringify([name, passwordHash, role])", "name"],
    ["the session from before a sign-in goes on", "    await endSession(visit);\n    const token", "    const token"],
    ["a session is believed for as long as the storage is down", "Math.abs(clock() - known.at) < BELIEVED_MS", "true"],
    ["an attempt without a place counts", "if (client !== undefined) throttle.cancel(client, name);", ""],
    ["success does not end the wait", "if (client !== undefined) throttle.succeed(client, name);", "", {
      tests: SIGN_IN,
      reason: "the wait of the test is over by then; createThrottle() has a test of its own",
    }],
  ]),
  ...mutantsOf(`${CODE}/passwords.ts`, PASSWORDS, [
    [
      "an unknown name costs nothing",
      "await verify(derive, password, hash ?? noHash) && hash !== undefined",
      "hash !== undefined && await verify(derive, password, hash)",
    ],
    ["one client takes all places", " || own >= MAX_OF_CLIENT", ""],
    ["any number of guesses waits", "waiting.length >= MAX_WAITING || ", ""],
  ]),
  ...mutantsOf(`${CODE}/throttle.ts`, PASSWORDS, [
    ["anybody can lock a name", "JSON.stringify([client, name])", 'JSON.stringify(["", name])'],
    ["a client pushes its failures out by other names", "known.size < MAX_NAMES", "true"],
    [
      "one password clears the failures of other names",
      "if (own === undefined) change(client, name, -1);\n      else ",
      "",
    ],
    ["a clock that was put back locks a client out", "if (found.at > clock()) found.at = clock();", ""],
    ["the memory of failures has no bound", "if (failed.size > MAX_PAIRS)", "if (false)"],
  ]),
  ...mutantsOf(`${CODE}/handler.ts`, SIGN_IN, [
    [
      "who was known before the outage acts",
      "if (isLastKnown) return await pagesOf.showLastKnown(visit, operator);",
      "",
    ],
    ["the stream of a page that was left open keeps its session", 'path === "/live" || ', ""],
  ]),
  ...mutantsOf(`${CODE}/form.ts`, SIGN_IN, [
    ["signing in causes an export", '!path.startsWith("/export/")', "true"],
  ]),
  ...mutantsOf(`${CODE}/flash.ts`, ACTING, [
    ["a page that is open takes the report of another one", ' || request.headers.get("x-console-live") !== null', ""],
  ]),
  ...mutantsOf(`${CODE}/live.ts`, LIVE, [
    ["the storage is read while nobody looks", "    stop?.();\n", ""],
    ["a stream outlives its session", "if (!await stream.isSignedIn()) end(stream);", ""],
    [
      "a viewer whose session is not known yet is told of changes",
      "({ isBeingChecked }) => !isBeingChecked",
      "() => true",
    ],
    ["a page stays as it was in an outage", 'if (stream.sent.has("outage")) stream.sent.clear();', ""],
    ["one operator opens all streams", " || own >= MAX_STREAMS_OF_OPERATOR", ""],
    ["what nobody reads piles up", "if ((stream.controller.desiredSize ?? 0) < -MAX_BACKLOG) return end(stream);", ""],
  ]),
];
