/** Triggers of CRM automation. */
import type { Command, Declared, Kind } from "./kind.ts";
import { isUnlike, rows, text } from "./listed.ts";

/** Their kind. */
export const triggers: Kind<"triggers"> = {
  key: "triggers",
  list: "crm.automation.trigger.list",
  there: (listed) => rows(listed).map((fields) => ({ id: text(fields.CODE), fields })),
  id: ({ code }) => code,
  differs: ({ name }, there) => isUnlike(name, there.NAME),
  add,
  // Adding it again changes its name.
  update: (one) => [add(one)],
  remove: ({ CODE }) => ["crm.automation.trigger.delete", { CODE }],
};

function add({ code, name }: Declared<"triggers">): Command {
  return ["crm.automation.trigger.add", { CODE: code, NAME: name }];
}
