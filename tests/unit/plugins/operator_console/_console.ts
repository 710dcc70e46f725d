/** A console, and an app with portals behind it. */
import type { AppOptions } from "@b24/onappupdate";
import { operatorConsole, type OperatorConsoleOptions, type PasswordGuard } from "@b24/onappupdate/operator-console";
import { passwordHash } from "../../../../src/cli/password.ts";
import { recordingLogger, type Rig, rig } from "../../../support/app.ts";

export const ORIGIN = "https://ops.example";

/** An answer with its text. */
export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly text: string;
}

/** A rig with a console, whose sign-on lets everybody in as `ada`, who may operate. */
export interface ConsoleRig extends Omit<Rig, "send"> {
  /** Lines of the console, not of the app. */
  readonly consoleLines: string[];
  readonly fetch: (request: Request, ...platform: unknown[]) => Promise<Response>;
  /** Opens a page. */
  readonly open: (path: string, headers?: Readonly<Record<string, string>>) => Promise<Answer>;
  /** Sends a form as a page of the console does. */
  readonly send: (
    path: string,
    form: Readonly<Record<string, string>>,
    headers?: Readonly<Record<string, string>>,
  ) => Promise<Answer>;
}

/** Returns a rig with a console. */
export function consoleRig(
  options: Partial<AppOptions> = {},
  ofConsole: Partial<OperatorConsoleOptions> = {},
): ConsoleRig {
  const app = rig(options);
  const { logger, lines } = recordingLogger();
  const { fetch } = operatorConsole({
    ...{ app: app.app, origin: ORIGIN, logger },
    guard: () => ({ name: "ada", role: "operate" }),
    ...ofConsole,
  });
  return {
    ...app,
    consoleLines: lines,
    fetch,
    open: async (path, headers = {}) => await answerOf(await fetch(new Request(`${ORIGIN}${path}`, { headers }))),
    send: async (path, form, headers) => await answerOf(await fetch(postOf(path, form, headers))),
  };
}

/** Passwords of the users, by name. Their hashes are those of `onappupdate password`. */
export const PASSWORDS = { ada: "correct horse battery", bob: "staple battery horse" } as const;

/** Returns the options of a guard with `ada`, who may operate, and `bob`, who may read. */
export async function passwordGuard(): Promise<PasswordGuard> {
  const salt = new Uint8Array(16).fill(7);
  const [ada, bob] = await Promise.all([passwordHash(PASSWORDS.ada, salt), passwordHash(PASSWORDS.bob, salt)]);
  return {
    users: [
      { name: "ada", passwordHash: ada, role: "operate" },
      { name: "bob", passwordHash: bob, role: "read" },
    ],
  };
}

/** Returns the cookies that an answer sets, as a browser sends them back. */
export function cookiesOf({ headers }: Pick<Answer, "headers">): string {
  return headers.getSetCookie().map((cookie) => cookie.split(";")[0]).join("; ");
}

/** Returns the request of a form. */
export function postOf(
  path: string,
  form: Readonly<Record<string, string>>,
  headers: Readonly<Record<string, string>> = {},
): Request {
  return new Request(`${ORIGIN}${path}`, {
    method: "POST",
    body: new URLSearchParams(form).toString(),
    headers: {
      "content-type": "application/x-www-form-urlencoded",
      origin: ORIGIN,
      "sec-fetch-site": "same-origin",
      ...headers,
    },
  });
}

/** Reads an answer. */
export async function answerOf(response: Response): Promise<Answer> {
  return { status: response.status, headers: response.headers, text: await response.text() };
}
