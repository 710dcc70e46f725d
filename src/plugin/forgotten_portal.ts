/** The portal that an operator erases, as plugins see it. */

/** A portal that `app.admin.forget` erases. */
export interface ForgottenPortal {
  /** The `member_id`. */
  readonly memberId: string;
  /** Returns a text with `[forgotten]` in place of the portal's `member_id` and of each domain that is stored of it. */
  readonly without: (text: string) => string;
}

/** Returns what plugins see of a portal with these domains. */
export function forgottenPortal(memberId: string, domains: readonly string[]): ForgottenPortal {
  const id = `(?<![\\p{L}\\d])${escaped(memberId)}(?![\\p{L}\\d])`;
  // Not inside of a longer name: `one.bitrix24.de` is no part of `someone.bitrix24.de`.
  const hosts = domains.filter((domain) => domain !== "").map((domain) =>
    `(?<![\\p{L}\\d-]|[\\p{L}\\d]\\.)${escaped(domain)}(?![\\p{L}\\d-]|\\.[\\p{L}\\d])`
  );
  const pattern = new RegExp([id, ...hosts].join("|"), "giu");
  return { memberId, without: (text) => text.replaceAll(pattern, "[forgotten]") };
}

function escaped(text: string): string {
  return text.replaceAll(/[\\^$.*+?()[\]{}|/]/g, "\\$&");
}
