/** Types of user fields. */
import { type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { differsFrom, maps, text } from "./listed.ts";

/** The kind of user field types. */
export const userFieldTypes: Kind<"userFieldTypes"> = {
  key: "userFieldTypes",
  list: "userfieldtype.list",
  parse: (listed) => maps(listed).map((fields) => ({ id: text(fields.USER_TYPE_ID), fields })),
  id: ({ type }) => type,
  differs: ({ handler, title, description }, registered) =>
    differsFrom({ HANDLER: handler, TITLE: title, DESCRIPTION: description }, registered),
  hasUnlistedFields: ({ params }) => params !== undefined,
  add: (declared) => ["userfieldtype.add", fields(declared)],
  update: (declared) => [["userfieldtype.update", fields(declared)]],
  remove: ({ USER_TYPE_ID }) => ["userfieldtype.delete", { USER_TYPE_ID }],
};

function fields({ type, handler, title, description, params }: Declared<"userFieldTypes">): object {
  return withoutUndefined({ USER_TYPE_ID: type, HANDLER: handler, TITLE: title, DESCRIPTION: description, ...params });
}
