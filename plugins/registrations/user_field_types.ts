/** Types of user fields. */
import { type Declared, given, type Kind } from "./kind.ts";
import { isUnlike, rows, text } from "./listed.ts";

/** Their kind. */
export const userFieldTypes: Kind<"userFieldTypes"> = {
  key: "userFieldTypes",
  list: "userfieldtype.list",
  there: (listed) => rows(listed).map((fields) => ({ id: text(fields.USER_TYPE_ID), fields })),
  id: ({ type }) => type,
  differs: ({ handler, title, description }, there) =>
    isUnlike({ HANDLER: handler, TITLE: title, DESCRIPTION: description }, there),
  isUnseen: ({ params }) => params !== undefined,
  add: (one) => ["userfieldtype.add", fields(one)],
  update: (one) => [["userfieldtype.update", fields(one)]],
  remove: ({ USER_TYPE_ID }) => ["userfieldtype.delete", { USER_TYPE_ID }],
};

function fields({ type, handler, title, description, params }: Declared<"userFieldTypes">): object {
  return given({ USER_TYPE_ID: type, HANDLER: handler, TITLE: title, DESCRIPTION: description, ...params });
}
