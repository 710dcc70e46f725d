/** Answers requests to a portal's REST in a rehearsal: reads by the portal or a recording, writes by a table. */
import { readAnswer } from "../../bitrix24/answer.ts";
import { B24Error } from "../../bitrix24/b24_error.ts";
import { isReadMethod } from "../../bitrix24/rest_methods.ts";
import { NotRehearsedError } from "../../errors.ts";
import type { RunningRehearsal } from "../../plugin/rehearsal.ts";
import { type AnswerParts, noTime, type Params, type ReadAnswer, writeOf } from "./answer_parts.ts";
import { answerBatch, batchParams, commandsIn, isBatch } from "./batch_answers.ts";
import type { Recorder } from "./recorder.ts";

/** A request to the portal's REST. */
interface RestRequest {
  /** With `api/` before a method of REST 3.0. */
  readonly method: string;
  readonly params: Params;
}

/** Returns the function that answers requests to the portal; see `RunningRehearsal`. */
export function createPortalAnswers(parts: AnswerParts): Pick<RunningRehearsal, "portalFetch" | "refuseFetch"> & {
  readonly answers: (method: string, params: object) => boolean;
} {
  const { recorder, tape } = parts;

  /** @throws {NotRehearsedError} if the rehearsal has ended */
  function assertActive(): void {
    if (recorder.stopped() !== undefined) throw new NotRehearsedError(`further: ${recorder.stopped()}`);
  }

  return {
    portalFetch: async (send, input, init) => {
      const request = new Request(input, init);
      assertActive();
      const called = await readRequest(request.clone());
      if (called === undefined) throw refuseRequest(recorder, request, "it is not a call of the portal's REST in JSON");
      const { method, params } = called;
      const read = async (next: Params): Promise<ReadAnswer> =>
        await answerRead(
          parts,
          { method, params: next },
          async () => await send(next === params ? request : await withParams(request, next), undefined),
        );
      if (isBatch(method)) return await answerBatch(parts, params, read);
      if (isReadMethod(method)) {
        const { response, isRefused } = await read(params);
        if (!isRefused) recorder.countRequest([{ method, isRead: true }]);
        return response;
      }
      const write = writeOf(recorder, method, params);
      recorder.countRequest([{ method, isRead: false }]);
      recorder.write(write);
      return Response.json({ result: write.result, time: noTime() });
    },
    refuseFetch: (input, init) =>
      new Promise((_, reject) => {
        assertActive();
        reject(
          refuseRequest(recorder, new Request(input, init), "a rehearsal calls only the portal, and only to read"),
        );
      }),
    answers: (method, given) => {
      const params = isBatch(method)
        ? batchParams(JSON.parse(JSON.stringify(given)))
        : JSON.parse(JSON.stringify(given));
      if (params === undefined) return true;
      if (tape.find(method, params) !== undefined) return true;
      if (!isBatch(method)) return !isReadMethod(method);
      return commandsIn(params).every(({ method }) => !isReadMethod(method));
    },
  };
}

/** Returns the error for a read that the portal cannot answer; `undefined` if it can. */
function unanswerable(recorder: Recorder, method: string, params: unknown): NotRehearsedError | undefined {
  const id = recorder.addedIdIn(params);
  if (id === undefined) return undefined;
  return recorder.refuse(method, `it reads what the rehearsal has added as ${id}, and the portal does not have that`);
}

/** Answers a read, from the recording or by the portal. */
async function answerRead(
  { recorder, tape }: AnswerParts,
  { method, params }: RestRequest,
  send: () => Promise<Response>,
): Promise<ReadAnswer> {
  const impossible = unanswerable(recorder, method, params);
  if (impossible !== undefined) throw impossible;
  const recorded = tape.find(method, params);
  if (recorded !== undefined) {
    const { status, answer } = recorded;
    return { response: Response.json(answer, { status }), json: answer as Params, isRefused: false };
  }
  recorder.countSent();
  const response = await send();
  const { status } = response;
  if (status >= 300 && response.headers.has("location")) return { response, json: undefined, isRefused: true };
  // The caller has its own limits, and refuses an answer that is too large for this one.
  const json = await readAnswer(response.clone()).then(({ json }) => json, () => undefined);
  if (typeof json !== "object" || json === null || Array.isArray(json)) {
    return { response, json: undefined, isRefused: true };
  }
  const isRefused = isRefusal(json as Params, method, status);
  if (!isRefused) tape.add(method, params, status, json);
  return { response, json: json as Params, isRefused };
}

/** Whether an answer is one after which callers repeat the call: of the token, of a limit, of the user, or of an outage. */
function isRefusal({ error }: Params, method: string, status: number): boolean {
  const code = typeof error === "object" && error !== null ? (error as Params)["code"] : error;
  if (code === undefined || code === "") return false;
  const refusal = new B24Error({ code: String(code), description: "", status, method });
  const { refusesToken, limit, needsOtherUser, mayHaveTakenEffect, blockedOn } = refusal;
  return refusesToken || limit !== undefined || needsOtherUser || mayHaveTakenEffect || blockedOn !== undefined;
}

/** Returns the call that a request makes; `undefined` if it is none. */
async function readRequest(request: Request): Promise<RestRequest | undefined> {
  const { pathname, searchParams } = new URL(request.url);
  const path = /\/rest\/((?:api\/)?[\w.]+)$/.exec(pathname)?.[1];
  if (path === undefined || request.method !== "POST") return undefined;
  try {
    const body: unknown = JSON.parse(await request.text());
    if (typeof body !== "object" || body === null || Array.isArray(body)) return undefined;
    const { auth: _, ...params } = body as Params;
    if (!isBatch(path)) return { method: path, params };
    // Bitrix24 adds the parameters of the query to those of the body.
    const isInQuery = [...searchParams.keys()].some((name) => /^(cmd|halt)(\[|$)/i.test(name));
    const inBody = isInQuery ? undefined : batchParams(params);
    return inBody && { method: path, params: inBody };
  } catch {
    return undefined;
  }
}

/** Returns the request with other parameters, and its own token. */
async function withParams(request: Request, params: Params): Promise<Request> {
  const { auth } = JSON.parse(await request.clone().text()) as Params;
  const headers = new Headers(request.headers);
  headers.delete("content-length");
  const body = JSON.stringify(auth === undefined ? params : { ...params, auth });
  return new Request(request.url, {
    method: "POST",
    headers,
    body,
    redirect: request.redirect,
    signal: request.signal,
  });
}

/** Neither the path nor the query: they may have a secret. */
function refuseRequest(recorder: Recorder, { method, url }: Request, why: string): NotRehearsedError {
  return recorder.refuse(`${method} to ${new URL(url).host}`, why);
}
