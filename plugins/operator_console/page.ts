/**
 * Pages of the console. A page is one file under `pages/` with one `page({ … })`, one row in `pages.ts`, and its strings in
 * `texts/`. It reads by the calls of the operator API and no other way, so it shows what the API shows and nothing else.
 *
 *     GET /portals?status=parked
 *       → load(call, { path, query })   rejects with an ApiError: an error page of its status (400, 404, 503, …)
 *       → render(data, ctx)             HTML of `<main>` below the heading; the frame is around it
 *
 * - `load` is kept apart from `render`: while the storage is down, the last data of the same address are rendered again.
 * - Empty members of the query are dropped before `load`, as forms send them. Pass `query` to a call as it is: its schema
 *   refuses names and values that are none. Members that are the page's own have to be taken out before.
 * - A page works without JavaScript. `data-live` marks an element with an `id` whose content is fetched anew on changes.
 * - No `style` attributes and no event attributes: the content security policy refuses them. Classes are in `style/`.
 */
import type { Operator } from "../operator_api/route.ts";
import type { Call } from "./calls.ts";
import type { Html } from "./html.ts";
import type { Language, TextKey, TextValues } from "./texts.ts";

/** A page. `Data` is what `load` resolves to and `render` shows. */
export interface Page<Data> {
  /** Path below `base`, such as `/portals/{portal}`. */
  readonly path: string;
  /** Its entry in the navigation; none if it is absent. The entries are in the order of `pages.ts`. */
  readonly nav?: TextKey;
  /** Heading, and title of the window. */
  readonly title: (data: Data, ctx: PageContext) => string;
  /** Changes that the page shows while it is open: of all portals, or also of the one in its path. Neither if it is absent. */
  readonly live?: "totals" | "portal";
  /** `now` is the present time, in milliseconds since 1970. */
  readonly load: (call: Call, params: PageParams, now: number) => Promise<Data>;
  readonly render: (data: Data, ctx: PageContext) => Html;
}

/** A page, whatever its data. */
export type AnyPage = Page<unknown>;

/** Returns a page for the table in `pages.ts`. */
export function page<Data>(definition: Page<Data>): AnyPage {
  return definition as AnyPage;
}

/** The selection of an address. */
export interface PageParams {
  /** The parts in braces of the path, decoded. */
  readonly path: Readonly<Record<string, string>>;
  /** The members of the query that are not empty. */
  readonly query: Readonly<Record<string, string>>;
}

/** The dependencies of pages. */
export interface PageContext {
  readonly language: Language;
  /** Returns a string of the table in the language of the viewer. It is text: `markup` escapes it. */
  readonly t: (key: TextKey, values?: TextValues) => string;
  /** Returns a number as the language writes it. */
  readonly number: (value: number) => string;
  /** Returns a time as `<time>`: in UTC, which the script replaces by the viewer's zone. `"day"`: only its date. */
  readonly time: (ms: number, style?: "day") => Html;
  /** Returns a number of milliseconds as a text of at most two units, such as `3 min 20 s`. */
  readonly duration: (ms: number) => string;
  /** Returns an address of the console: `base`, a path such as `/portals`, and a query without its undefined members. */
  readonly href: (path: string, query?: Readonly<Record<string, string | number | undefined>>) => string;
  /** The operator who looks. */
  readonly operator: Operator;
  /** Whether the viewer may act. Actions are not shown if not. */
  readonly canOperate: boolean;
  /** Path of this page below `base`, with its query: where an action returns to. */
  readonly here: string;
  /** The parameters of this page, for links and forms that keep some of them. */
  readonly params: PageParams;
  /** The present time, in milliseconds since 1970. */
  readonly now: number;
}
