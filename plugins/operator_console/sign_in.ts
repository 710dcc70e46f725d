/** The guard of users with passwords: a page to sign in, sessions, and log-out. */
import { createHash } from "node:crypto";
import type { Logger } from "../../mod.ts";
import { StorageError } from "../../errors.ts";
import { ApiError } from "../operator_api/api_error.ts";
import { clientOf } from "./client.ts";
import type { Cookies } from "./cookies.ts";
import { textField } from "./elements.ts";
import { type Form, pageIn, readForm } from "./form.ts";
import type { Guard, PasswordUser, Visitor } from "./guard.ts";
import { markup } from "./html.ts";
import { createPasswordChecker, tooMany } from "./passwords.ts";
import type { Sessions } from "./sessions.ts";
import type { TextKey } from "./texts.ts";
import { createThrottle } from "./throttle.ts";
import type { Views } from "./views.ts";
import type { Visit } from "./visit.ts";

/** Parts of {@linkcode createSignIn}. */
export interface SignInParts {
  readonly users: readonly PasswordUser[];
  readonly sessions: Sessions;
  readonly cookies: Cookies;
  readonly views: Views;
  readonly clientAddress: (request: Request, platform: readonly unknown[]) => string | undefined;
  readonly formBytes: number;
  readonly logger: Logger;
  readonly clock: () => number;
}

/** Time (ms) that a session is believed while the storage does not answer. */
const BELIEVED_MS = 5 * 60_000;
/** Maximum number of sessions that are remembered for that. */
const MAX_REMEMBERED = 200;
const MAX_PASSWORD = 1000;

/** Returns the guard of users with passwords. */
export function createSignIn(parts: SignInParts): Guard {
  const { users, sessions, cookies, views, clock } = parts;
  const byStamp = new Map(users.map((user) => [stampOf(user), user]));
  const remembered = new Map<string, Visitor & { readonly at: number }>();
  const check = createCheck(parts);

  function remember(token: string, visitor: Visitor): void {
    remembered.delete(token);
    remembered.set(token, { ...visitor, at: clock() });
    if (remembered.size > MAX_REMEMBERED) remembered.delete(remembered.keys().next().value!);
  }

  async function identify({ request }: Visit, isUse: boolean): Promise<Visitor | undefined> {
    const token = cookies.get(request, "session");
    if (token === undefined) return undefined;
    try {
      const session = await sessions.find(token, isUse);
      const user = session && byStamp.get(session.stamp);
      if (user === undefined) {
        remembered.delete(token);
        if (session !== undefined) await sessions.end(token);
        return undefined;
      }
      const visitor: Visitor = { operator: { name: user.name, role: user.role } };
      remember(token, visitor);
      return visitor;
    } catch (error) {
      const known = remembered.get(token);
      const isBelieved = error instanceof StorageError && known !== undefined &&
        Math.abs(clock() - known.at) < BELIEVED_MS;
      if (!isBelieved) throw error;
      return { operator: known.operator, isLastKnown: true };
    }
  }

  async function logIn(visit: Visit): Promise<Response> {
    const form = await readForm(visit.request, parts.formBytes);
    const back = pageIn(form.get("next"));
    let user: PasswordUser | undefined;
    try {
      user = await check(visit, form);
    } catch (error) {
      if (!(error instanceof ApiError) || error.status !== 429) throw error;
      return await signInPage(views, visit, {
        back,
        form,
        status: 429,
        problem: "signIn.tooMany",
        headers: error.headers,
      });
    }
    if (user === undefined) return await signInPage(views, visit, { back, form, status: 403, problem: "signIn.wrong" });
    await endSession(visit);
    const token = await sessions.begin({ name: user.name, stamp: stampOf(user) });
    return views.redirect(back, { "set-cookie": cookies.set("session", token) });
  }

  /** A fresh session for each sign-in: nobody can have prepared it. */
  async function endSession({ request }: Visit): Promise<void> {
    const token = cookies.get(request, "session");
    if (token === undefined) return;
    remembered.delete(token);
    await sessions.end(token);
  }

  return {
    canLogOut: true,
    identify,
    answer: async (visit) => {
      const { path, request: { method }, query } = visit;
      if (path === "/logout" && method === "POST") {
        await endSession(visit);
        return views.redirect("/login", { "set-cookie": cookies.clear("session") });
      }
      if (path !== "/login") return undefined;
      if (method === "POST") return await logIn(visit);
      const back = pageIn(query.next);
      return await identify(visit, true) === undefined
        ? await signInPage(views, visit, { back })
        : views.redirect(back);
    },
    signIn: ({ here }) =>
      Promise.resolve(views.redirect(here === "/" ? "/login" : `/login?${new URLSearchParams({ next: here })}`)),
  };
}

/** Returns the digest of a user's configuration. */
function stampOf({ name, passwordHash, role }: PasswordUser): string {
  return createHash("sha256").update(JSON.stringify([name, passwordHash, role])).digest("hex");
}

/** Returns the function that finds the user of a form; `undefined` if name or password is wrong. Throws {@linkcode ApiError} 429. */
function createCheck(
  { users, clientAddress, logger, clock }: SignInParts,
): (visit: Visit, form: Form) => Promise<PasswordUser | undefined> {
  const passwords = createPasswordChecker();
  const throttle = createThrottle(clock);
  let hasWarned = false;

  function clientFrom({ request, platform }: Visit): string | undefined {
    const client = clientOf(clientAddress(request, platform));
    if (client === undefined && !hasWarned) {
      hasWarned = true;
      logger.warn("client addresses are not known: failed sign-ins are not throttled by client", {
        event: "console.no_client_address",
      });
    }
    return client;
  }

  return async (visit, form) => {
    const [name, password] = [form.get("name") ?? "", form.get("password") ?? ""];
    const client = clientFrom(visit);
    if (client !== undefined) {
      const waitMs = throttle.waitMs(client, name);
      if (waitMs > 0) throw tooMany(Math.ceil(waitMs / 1000));
      throttle.begin(client, name);
    }
    const user = users.find((one) => one.name === name);
    let isRight: boolean;
    try {
      // An unknown name takes as long as a known one, and so does a password that is too long to be one.
      const hash = password.length <= MAX_PASSWORD ? user?.passwordHash : undefined;
      isRight = await passwords.isRight(password.slice(0, MAX_PASSWORD), hash, client);
    } catch (error) {
      // It had no place to wait: those who take all places must not make others wait for longer.
      if (client !== undefined) throttle.cancel(client, name);
      throw error;
    }
    if (!isRight) {
      logger.warn("console refused a sign-in", {
        event: "console.sign_in_failed",
        ...(client !== undefined && { client }),
      });
      return undefined;
    }
    if (client !== undefined) throttle.succeed(client, name);
    return user;
  };
}

interface SignInPage {
  readonly back: string;
  readonly form?: Form;
  readonly status?: number;
  readonly problem?: TextKey;
  readonly headers?: Readonly<Record<string, string>>;
}

async function signInPage(views: Views, visit: Visit, page: SignInPage): Promise<Response> {
  const { back, form, status = 200, problem, headers = {} } = page;
  const ctx = views.bareContextOf({ ...visit, here: visit.request.method === "POST" ? "/login" : visit.here });
  const { t, href } = ctx;
  const content = markup`<form class="sign-in" method="post" action="${href("/login")}">
<input type="hidden" name="next" value="${back}">
${
    textField({
      ...{ name: "name", label: t("signIn.name"), value: form?.get("name") ?? "" },
      ...{ autocomplete: "username", maxLength: 100, isRequired: true },
    })
  }${
    textField({
      ...{ name: "password", label: t("signIn.password"), type: "password" },
      ...{ autocomplete: "current-password", maxLength: MAX_PASSWORD, isRequired: true },
    })
  }<p><button class="primary">${t("signIn.button")}</button></p>
</form>`;
  const notices = problem === undefined ? [] : [markup`
    <div class="notice notice-bad" role="alert">
      <p>${t(problem, { seconds: Number(headers["retry-after"] ?? 0) })}</p>
    </div>
  `];
  return await views.answer(visit, ctx, { title: t("signIn.title"), content, notices, status, headers });
}
