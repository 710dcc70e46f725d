/** Placements: tabs, buttons and menu items in the portal's pages. */
import { type Command, type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { differsFrom, type Fields, isMap, maps, text } from "./listed.ts";

/** Placements that Bitrix24 creates for other registrations, and lists in part. */
const AUTOMATIC = new Set(["BIZPROC_ACTIVITY_PROPERTIES_DIALOG", "DEFAULT", "SETTING_CONNECTOR", "USERFIELD_TYPE"]);

/** The kind of placements. */
export const placements: Kind<"placements"> = {
  key: "placements",
  list: "placement.get",
  parse: (listed) =>
    // Without its handler, unbinding would remove all handlers of the placement.
    maps(listed).filter(({ placement, handler }) => !AUTOMATIC.has(text(placement)) && text(handler) !== "")
      .map((fields) => ({ id: idOf(fields.placement, fields.handler, fields.userId), fields })),
  id: ({ placement, handler, userId }) => idOf(placement, handler, userId),
  differs,
  add: bind,
  update: (declared, registered) => [unbind(registered), bind(declared)],
  remove: unbind,
};

function idOf(placement: unknown, handler: unknown, userId: unknown): string {
  const whose = Number(userId ?? 0) === 0 ? "" : ` for user ${userId}`;
  return `${text(placement).toUpperCase()} ${text(handler)}${whose}`;
}

function differs({ title, description, params = {} }: Declared<"placements">, registered: Fields): boolean {
  const { LANG_ALL: texts, GROUP_NAME: group, OPTIONS: options } = params;
  if (isMap(options) && differsFrom(options, registered.options)) return true;
  const byLanguage = isMap(registered.langAll) ? registered.langAll : {};
  const languages = Object.values(byLanguage);
  if (isMap(texts)) {
    // Bitrix24 ignores title and description then. Older portals do not list languages.
    return languages.length > 0 &&
      Object.entries(texts).some(([name, value]) => !(name in byLanguage) || differsFrom(value, byLanguage[name]));
  }
  return differsFrom({ title, description }, registered) ||
    (languages.length === 1 && differsFrom({ GROUP_NAME: group }, languages[0]));
}

function bind({ placement, handler, title, description, userId, params }: Declared<"placements">): Command {
  return [
    "placement.bind",
    withoutUndefined({
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
  // Without USER_ID, unbinding would remove those of all users. Portals that list no user IDs do not have them.
  const whose = text(userId) === "" ? undefined : Number(userId);
  return ["placement.unbind", withoutUndefined({ PLACEMENT: placement, HANDLER: handler, USER_ID: whose })];
}
