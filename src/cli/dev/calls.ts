/** Describes the calls that an app makes to a stand-in. */
import { decodeRequest, type FakeParams } from "../../testing/bitrix24/request.ts";
import { isSecretName } from "../../redact.ts";
import { cut } from "../text.ts";
import { maskTokens } from "./mask.ts";
import type { CallEntry } from "./transcript.ts";

/** The longest parameters, answers and lists of commands that are kept, in characters and lines. */
const MAX_PARAMS = 2000;
const MAX_COMMANDS = 50;

/**
 * Answers a request of the app by `answer`, and describes the call.
 *
 * @throws {unknown} the error of `answer`, after `onCall`: the connection broke
 */
export async function describedCall(
  request: Request,
  answer: (request: Request) => Promise<Response>,
  { now, onCall }: { readonly now: () => number; readonly onCall: (call: CallEntry) => void },
): Promise<Response> {
  const begin = now();
  const { url, params } = await decodeRequest(request.clone());
  const call = { kind: "call", host: url.host, ...describe(url, params) } as const;
  try {
    const response = await answer(request);
    const error = await errorOf(response.clone());
    onCall({ ...call, status: response.status, ...(error !== undefined && { error }), ms: now() - begin });
    return response;
  } catch (error) {
    onCall({ ...call, error: "no answer", ms: now() - begin });
    throw error;
  }
}

function describe(url: URL, params: FakeParams): Pick<CallEntry, "method" | "params" | "commands"> {
  const method = url.pathname.replace(/^\/(rest\/)?/, "").replace(/(\.json)?\/?$/, "");
  const { cmd, ...others } = params;
  const isBatch = method === "batch" && typeof cmd === "object" && cmd !== null;
  return {
    method: cut(maskTokens(method), 100),
    params: shownParams(isBatch ? others : params),
    ...(isBatch && {
      commands: Object.values(cmd).slice(0, MAX_COMMANDS).map((command) =>
        cut(maskTokens(decoded(command)), MAX_PARAMS)
      ),
    }),
  };
}

function shownParams(params: FakeParams): string {
  const shown = Object.entries(params).filter(([name]) => !isSecretName(name));
  return cut(maskTokens(JSON.stringify(Object.fromEntries(shown))), MAX_PARAMS);
}

/** Returns a command of a batch as it reads best: its parameters are encoded. */
function decoded(command: unknown): string {
  const text = String(command);
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** Returns Bitrix24's error code in an answer, or the number of failed commands of a batch. */
async function errorOf(response: Response): Promise<string | undefined> {
  if (!(response.headers.get("content-type") ?? "").includes("json")) {
    await response.body?.cancel();
    return undefined;
  }
  try {
    const { error, result } = await response.json() as {
      readonly error?: unknown;
      readonly result?: { readonly result_error?: object };
    };
    if (typeof error === "string") return cut(error, 100);
    const code = (error as { readonly code?: unknown } | undefined)?.code;
    if (typeof code === "string") return cut(code, 100);
    const failed = Object.keys(result?.result_error ?? {}).length;
    return failed === 0 ? undefined : `${failed} of its commands failed`;
  } catch {
    return undefined;
  }
}
