/** Calls of the operator API, over the network or in this process: all operating commands go through here. */
import { messageWithCause } from "../redact.ts";
import { REDACTED } from "../secret.ts";
import { badAnswer, EXIT, ExitError, unreachable, usageError } from "./exit.ts";

/** Parameters of a query. */
export type Query = Readonly<Record<string, string | number | undefined>>;

/** An operator API that is connected. */
export interface OperatorClient {
  /** Names the app to people: the file, or the address. */
  readonly name: string;
  /** The app is in this process: it is not started, so that started ones carry out what is stored. */
  readonly isLocal: boolean;
  /** The operator is not named: nothing may be changed. */
  readonly isAnonymous: boolean;
  readonly get: <T>(path: string, query?: Query) => Promise<T>;
  readonly post: <T>(path: string, body?: object) => Promise<T>;
  /** Passes the text of an answer on as it comes. Rejects if it breaks off. */
  readonly stream: (path: string, query: Query, onText: (text: string) => void) => Promise<void>;
  /** Posts JSON lines, and passes the values of the lines of the answer on as they come. Has no time limit. */
  readonly exchange: (path: string, exchange: Exchange) => Promise<void>;
  readonly close: () => Promise<void>;
}

/** JSON lines that are posted, and those of the answer. */
export interface Exchange {
  readonly query: Query;
  readonly lines: string;
  readonly onLine: (value: unknown) => void;
  /** Ends it. */
  readonly signal: AbortSignal;
}

/** Parts of {@linkcode createClient}. */
export interface ClientParts {
  readonly name: string;
  readonly isLocal: boolean;
  readonly isAnonymous: boolean;
  /** Address of the API, without `/api/v1`. */
  readonly base: URL;
  readonly token: string;
  readonly fetch: (url: URL, init: RequestInit) => Promise<Response>;
  readonly close: () => Promise<void>;
}

/** Time (ms) that an answer may take: a recount or an export of many portals is slow. */
const TIMEOUT_MS = 600_000;

/** The media type of JSON lines. */
const LINES = "application/jsonl";

/** Returns a client of the operator API. Its functions throw an `ExitError` for every answer that is not good. */
export function createClient(parts: ClientParts): OperatorClient {
  const { name, isLocal, isAnonymous, close } = parts;
  const call = async <T>(method: string, path: string, query: Query, body?: object): Promise<T> => {
    const { response, text } = await unlessBroken(name, async () => {
      const response = await request(parts, method, path, query, body);
      return { response, text: await response.text() };
    });
    return answerOf(parts, response, text) as T;
  };
  return {
    ...{ name, isLocal, isAnonymous, close },
    get: (path, query = {}) => call("GET", path, query),
    post: (path, body = {}) => call("POST", path, {}, body),
    stream: async (path, query, onText) => {
      const response = await unlessBroken(name, () => request(parts, "GET", path, query));
      await readStream(parts, response, onText);
    },
    exchange: async (path, { query, lines, onLine, signal }) => {
      const response = await unlessBroken(name, () => request(parts, "POST", path, query, lines, signal));
      let rest = "";
      await readStream(parts, response, (text) => {
        const whole = (rest + text).split("\n");
        rest = whole.pop()!;
        for (const line of whole) onLine(JSON.parse(withoutToken(line, parts.token)));
      });
    },
  };
}

/** Passes the text of an answer on. @throws {ExitError} if the answer is not good, or breaks off */
async function readStream(parts: ClientParts, response: Response, onText: (text: string) => void): Promise<void> {
  const { name } = parts;
  if (!response.ok || response.body === null) {
    answerOf(parts, response, await unlessBroken(name, () => response.text()));
    return;
  }
  const chunks = response.body.pipeThrough(new TextDecoderStream());
  await unlessBroken(`${name} broke off, so this is not all: it`, async () => {
    for await (const text of chunks) onText(text);
  });
}

function request(
  { base, token, fetch }: ClientParts,
  method: string,
  path: string,
  query: Query,
  body?: object | string,
  signal: AbortSignal = AbortSignal.timeout(TIMEOUT_MS),
): Promise<Response> {
  const url = new URL(`${base.pathname.replace(/\/+$/, "")}/api/v1${path}`, base);
  for (const [key, value] of Object.entries(query)) if (value !== undefined) url.searchParams.set(key, String(value));
  return fetch(url, {
    method,
    headers: {
      authorization: `Bearer ${token}`,
      ...body !== undefined && { "content-type": typeof body === "string" ? LINES : "application/json" },
    },
    ...body !== undefined && { body: typeof body === "string" ? body : JSON.stringify(body) },
    redirect: "manual",
    signal,
  });
}

async function unlessBroken<T>(name: string, read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw unreachable(`${name} does not answer: ${messageWithCause(error)}`, { cause: error });
  }
}

/** The error of an answer. */
interface ApiFailure {
  readonly code: string;
  readonly message: string;
  /** The portals that a domain names. */
  readonly portals?: readonly NamedPortal[];
}

interface NamedPortal {
  readonly memberId: string;
  readonly state?: string;
  readonly version?: string;
}

/** Minimum length of a token in characters: 32 bytes in base64url. */
const MIN_TOKEN_LENGTH = 43;

/** Whatever answers may repeat the request. No API accepts a shorter token, which may be a part of any word. */
function withoutToken(text: string, token: string): string {
  return token.length < MIN_TOKEN_LENGTH ? text : text.replaceAll(token, REDACTED);
}

/** @throws {ExitError} if the answer is not good */
function answerOf(
  { name, isLocal, token }: Pick<ClientParts, "name" | "isLocal" | "token">,
  { ok, status }: Response,
  answer: string,
): unknown {
  const text = withoutToken(answer, token);
  // In Deno, a redirect that is not followed has its status; elsewhere it may be 0.
  if (status === 0 || status >= 300 && status < 400) {
    throw unreachable(`${name} answers with a redirect, which is not followed: use the address that it leads to`);
  }
  const json = parsed(text);
  if (ok && json !== undefined) return json;
  const { error } = Object(json) as { readonly error?: ApiFailure };
  if (error === undefined || typeof error.message !== "string") {
    throw unreachable(
      `${name} answers ${status}, and is no operator API: is the address right, and does the app serve the API?`,
    );
  }
  if (status === 401) {
    throw badAnswer(
      `${name} refuses the token: ${error.message}\nAn operator of the app can make one: onappupdate token`,
    );
  }
  const lines = [error.message, ...(error.portals ?? []).map(described), ...hintsOf(error.code, isLocal)];
  throw new ExitError(exitCodeOf(status), lines.join("\n"));
}

function described({ memberId, state, version }: NamedPortal): string {
  return `  ${memberId}  ${state ?? ""}${version === undefined ? "" : `  ${version}`}`;
}

function hintsOf(code: string, isLocal: boolean): string[] {
  if (code === "failed" && isLocal) {
    return ["The line above has the error. Does the app import the version of this package that this command is of?"];
  }
  // The id may be misspelled, `3` for `3.0.0`.
  if (code === "not_due") return ["onappupdate upgrades has the ids of upgrades, onappupdate plan those that are due."];
  if (code === "expect_exceeded") return ["Nothing was done. Look at the portals again, then pass the new number."];
  if (code === "storage") return ["Is the storage of the app running, and can it be reached from there?"];
  return [];
}

function exitCodeOf(status: number): ExitError["exitCode"] {
  if (status === 400) return EXIT.usage;
  return status === 502 || status === 503 ? EXIT.unreachable : EXIT.bad;
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** A page of a list. */
export interface Page<Item> {
  readonly items: readonly Item[];
  /** The `member_id`s of portals that the app cannot read. */
  readonly unreadable?: readonly string[];
  readonly next?: string;
}

/** Yields a list page by page. */
export async function* pagesOf<Item>(
  client: OperatorClient,
  path: string,
  query: Query,
  pageSize = MAX_PAGE,
): AsyncGenerator<Page<Item>> {
  let after: string | undefined;
  do {
    const page: Page<Item> = await client.get(path, { ...query, limit: pageSize, after });
    yield page;
    after = page.next;
  } while (after !== undefined);
}

/** Maximum length of a page. */
const MAX_PAGE = 1000;

/** The first items of a list. */
export interface Taken<Item> {
  readonly items: readonly Item[];
  /** The list has more. */
  readonly hasMore: boolean;
  /** The `member_id`s of portals among them that the app cannot read; absent if there are none. */
  readonly unreadable?: readonly string[];
}

/** Returns at most `limit` items of a list. */
export async function take<Item>(
  client: OperatorClient,
  path: string,
  query: Query,
  limit: number,
): Promise<Taken<Item>> {
  const items: Item[] = [];
  const unreadable: string[] = [];
  for await (const page of pagesOf<Item>(client, path, query, Math.min(limit + 1, MAX_PAGE))) {
    items.push(...page.items);
    unreadable.push(...page.unreadable ?? []);
    if (items.length > limit) break;
  }
  return {
    items: items.slice(0, limit),
    hasMore: items.length > limit,
    ...unreadable.length > 0 && { unreadable },
  };
}

/** Returns the path of a portal's routes. @throws {ExitError} if nothing was named */
export function portalPath(named: string | undefined, rest = ""): string {
  if (named === undefined || named.trim() === "") throw usageError("wanted a portal: its member_id or its domain");
  return `/portals/${encodeURIComponent(named.trim())}${rest}`;
}
