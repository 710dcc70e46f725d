/** The lists of fake portals. */
import { option, type OptionRules } from "../../check_options.ts";

/** The rows of a list method. */
export interface ListState {
  readonly rows: readonly Readonly<Record<string, unknown>>[];
  /** Field of the result that contains the rows; `undefined` if the result is the rows. */
  readonly key: string | undefined;
  /** See {@linkcode FakeListOptions.next}. */
  readonly next?: FakeListOptions["next"] | undefined;
}

/** Options of {@linkcode FakePortal.data}. */
export interface FakeListOptions {
  /**
   * Field of the result that contains the rows, such as `items` for `crm.item.list`.
   *
   * @default the result is the rows
   */
  readonly key?: string;
  /**
   * What is odd about the fields after a page. `"missing"`: there is no `next`, and `total` is the number of rows of the page, as
   * in `crm.address.list`. `"endless"`: each page has a `next`, also the empty ones after the last row, and `total` rises with
   * them.
   *
   * @default `next` and `total` as in other lists of Bitrix24
   */
  readonly next?: "missing" | "endless";
}

/** The rules of a list's options. */
export const LIST_RULES: OptionRules<FakeListOptions> = {
  key: option.text("a field of the result"),
  next: option.oneOf("missing", "endless"),
};
