/** The route that adopts portals: JSON lines in, JSON lines out. */
import type { AdoptionLine, AdoptionReport, AdoptOptions, PortalToAdopt } from "../../mod.ts";
import { OnAppUpdateError } from "../../errors.ts";
import { ApiError, type ErrorBody, refusalOf } from "./api_error.ts";
import { FORMATS } from "./export.ts";
import type { InputLine } from "./lines.ts";
import { MEMBER_ID } from "./parameters.ts";
import { type Call, type Route, route } from "./route.ts";
import { list, object, type ObjectSchema, optional, pick, type Schema } from "./schema.ts";
import { flag, message, number, oneOf, text, time } from "./values.ts";

type AdoptQuery = Pick<AdoptOptions, "dryRun" | "refresh" | "perMinute">;

const TOKEN: Schema = { type: "string", minLength: 1, maxLength: 255 };

/** Describes a line. `admin.adopt()` checks it, and accepts `null` for a field that is absent. */
const PORTAL_TO_ADOPT: ObjectSchema = object<PortalToAdopt>({
  memberId: MEMBER_ID,
  accessToken: { ...TOKEN, description: "Access token of a user of the portal, best an administrator" },
  refreshToken: optional({ ...TOKEN, description: "Refresh token of the same pair" }),
  expiresAt: optional({ ...time, description: "Expiry of the access token, in milliseconds since 1970" }),
  applicationToken: optional({ ...TOKEN, description: "Verifies events without an access token. Never an APP_SID" }),
  serverEndpoint: optional({ ...text, description: "`server_endpoint` of the token pair" }),
  version: optional({ type: "any", description: "The version that the portal's data is on: a string or a number" }),
});

const ADOPTION_LINE: ObjectSchema = object<AdoptionLine>({
  line: number,
  memberId: optional(text),
  outcome: oneOf("adopted", "filled_in", "unchanged", "not_adopted"),
  reason: optional(text),
  message: optional(message),
  version: optional(text),
  target: optional(text),
}, "AdoptionLine");

const ADOPTION_REPORT: ObjectSchema = object<AdoptionReport>({
  lines: number,
  adopted: number,
  filledIn: number,
  unchanged: number,
  notAdopted: number,
  reasons: { type: "object", values: number },
  problems: list(ADOPTION_LINE),
}, "AdoptionReport");

/** A line of the answer, which has one of the members. */
interface AnswerLine {
  /** The outcome of a line of the body. */
  readonly line?: AdoptionLine;
  /** The last line, once all are done. */
  readonly report?: AdoptionReport;
  /** The last line, if the adoption has ended before. */
  readonly error?: ErrorBody;
}

const ANSWER_LINE: ObjectSchema = object<AnswerLine>({
  line: optional(ADOPTION_LINE),
  report: optional(ADOPTION_REPORT),
  error: optional({ type: "object", properties: { code: text, message }, required: ["code", "message"] }),
});

/** Length (characters) of the lines that are read ahead: servers limit the time in which a body must arrive. */
const MAX_AHEAD = 32 * 1024 * 1024;

/** Number of lines of the answer that wait for the client. Then no further portal is adopted. */
const MAX_UNREAD = 1000;

/** The routes. */
export const ADOPT_ROUTES: readonly Route[] = [
  route<AdoptQuery>({
    ...{ method: "POST", path: "/adopt", id: "adoptPortals", role: "operate", action: "adopt" },
    summary: "Adopts portals of another program; streams the outcome of each line, and the report as the last line",
    query: object<AdoptQuery>({
      dryRun: optional({ ...flag, description: "Ask Bitrix24 and report what would happen; store nothing" }),
      refresh: optional({ ...flag, description: "Refresh access tokens that have expired" }),
      perMinute: optional({
        ...{ type: "integer", minimum: 1, maximum: 1_000_000 },
        description: "Maximum number of requests to OAuth hosts a minute; 600 by default",
      }),
    }),
    lines: PORTAL_TO_ADOPT,
    answer: { stream: { jsonl: FORMATS.jsonl }, item: ANSWER_LINE },
    run: adopt,
  }),
];

/** Answers once the adoption has begun. @throws {ApiError} if it cannot begin */
async function adopt(call: Call<AdoptQuery>): Promise<Response> {
  const { admin, query, attribution, signal } = call;
  const source = readAhead(textsOf(call.lines));
  const { readable, writable } = new TransformStream<AnswerLine, Uint8Array>({
    transform: (line, controller) => {
      controller.enqueue(new TextEncoder().encode(`${JSON.stringify(pick(ANSWER_LINE, line))}\n`));
    },
  }, new CountQueuingStrategy({ highWaterMark: MAX_UNREAD }));
  const writer = writable.getWriter();
  const { promise: begun, resolve: begin } = Promise.withResolvers<void>();

  /** Is first read after the options were checked. */
  async function* lines(): AsyncGenerator<string> {
    begin();
    yield* source;
  }

  const adoption = admin.adopt(lines(), {
    ...{ ...query, ...attribution, signal },
    onLine: async (line) => {
      // Rejects if the client has gone away.
      await writer.ready;
      writer.write({ line }).catch(() => {});
    },
  });
  try {
    await Promise.race([begun, adoption]);
  } catch (thrown) {
    source.cancel().catch(() => {});
    throw impossible(thrown) ?? thrown;
  }
  void adoption.then((report): AnswerLine => ({ report }), (thrown) => ({ error: errorOf(thrown, call) }))
    .then((last) => writer.write(last)).then(() => writer.close())
    // Nobody reads the answer to a client that went away.
    .catch(() => {});
  return new Response(readable, { headers: { "content-type": FORMATS.jsonl } });
}

/** Returns the texts of lines, and empty ones for those that are left out, so that `admin.adopt()` counts them. */
async function* textsOf(lines: AsyncIterable<InputLine>): AsyncGenerator<string> {
  let last = 0;
  for await (const { number, text } of lines) {
    while (++last < number) yield "";
    yield text;
  }
}

function readAhead(texts: AsyncGenerator<string>): ReadableStream<string> {
  const read = (): Promise<IteratorResult<string>> => {
    const next = texts.next();
    // The stream reports it once it is pulled.
    next.catch(() => {});
    return next;
  };
  // Begins at once: a body that nobody reads is discarded after the answer.
  let next = read();
  return new ReadableStream({
    pull: async (controller) => {
      const { value, done } = await next;
      if (done) return controller.close();
      controller.enqueue(value);
      next = read();
    },
    cancel: async () => void await texts.return(undefined),
  }, { highWaterMark: MAX_AHEAD, size: (text) => text.length + 1 });
}

/** Returns the refusal of an adoption that the app cannot begin: it lacks its keys. */
function impossible(thrown: unknown): ApiError | undefined {
  if (!(thrown instanceof TypeError) || !thrown.message.startsWith("cannot adopt portals ")) return undefined;
  return new ApiError(409, { code: "not_possible", message: thrown.message });
}

/** Returns what the last line says about an adoption that has failed. */
function errorOf(thrown: unknown, { signal, reportFailure }: Call): ErrorBody {
  const refusal = refusalOf(thrown);
  if (refusal !== undefined) return refusal.body;
  // Such as a refusal of the app's keys.
  if (thrown instanceof OnAppUpdateError) return { code: thrown.code, message: thrown.message };
  if (thrown instanceof DOMException && thrown.name === "AbortError") {
    return { code: "stopped", message: "the app is closing, or the client went away: adopt the same lines again" };
  }
  if (!signal.aborted) reportFailure(thrown);
  return {
    code: "failed",
    message: "the adoption has failed: the log of the app has the error, and so has the audit log",
  };
}
