/** Places in the portal's pages. */
import { type Command, type Declared, given, type Kind } from "./kind.ts";
import { type Fields, isMap, isUnlike, rows, text } from "./listed.ts";

/** Bitrix24 makes these when something else is registered, and lists some of them. */
const MADE = new Set(["BIZPROC_ACTIVITY_PROPERTIES_DIALOG", "DEFAULT", "SETTING_CONNECTOR", "USERFIELD_TYPE"]);

/** Their kind. */
export const placements: Kind<"placements"> = {
  key: "placements",
  list: "placement.get",
  there: (listed) =>
    // Unbound without its handler, all of its placement would go.
    rows(listed).filter(({ placement, handler }) => !MADE.has(text(placement)) && text(handler) !== "").map((
      fields,
    ) => ({
      id: idOf(fields.placement, fields.handler, fields.userId),
      fields,
    })),
  id: ({ placement, handler, userId }) => idOf(placement, handler, userId),
  differs,
  add: bind,
  update: (one, there) => [unbind(there), bind(one)],
  remove: unbind,
};

function idOf(placement: unknown, handler: unknown, userId: unknown): string {
  const whose = Number(userId ?? 0) === 0 ? "" : ` for user ${userId}`;
  return `${text(placement).toUpperCase()} ${text(handler)}${whose}`;
}

function differs({ title, description, params = {} }: Declared<"placements">, there: Fields): boolean {
  const { LANG_ALL: texts, GROUP_NAME: group, OPTIONS: options } = params;
  if (isMap(options) && isUnlike(options, there.options)) return true;
  const byLanguage = isMap(there.langAll) ? there.langAll : {};
  const languages = Object.values(byLanguage);
  if (isMap(texts)) {
    // Bitrix24 takes no notice of title and description then. Older portals list no languages.
    return languages.length > 0 &&
      Object.entries(texts).some(([name, one]) => !(name in byLanguage) || isUnlike(one, byLanguage[name]));
  }
  return isUnlike({ title, description }, there) ||
    (languages.length === 1 && isUnlike({ GROUP_NAME: group }, languages[0]));
}

function bind({ placement, handler, title, description, userId, params }: Declared<"placements">): Command {
  return [
    "placement.bind",
    given({
      PLACEMENT: placement,
      HANDLER: handler,
      TITLE: title,
      DESCRIPTION: description,
      USER_ID: userId,
      ...params,
    }),
  ];
}

function unbind({ placement, handler, userId }: Fields): Command {
  // Without the user, those of all users go; portals that list no users have none.
  const whose = text(userId) === "" ? undefined : Number(userId);
  return ["placement.unbind", given({ PLACEMENT: placement, HANDLER: handler, USER_ID: whose })];
}
