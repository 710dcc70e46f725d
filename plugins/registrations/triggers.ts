/** Triggers of CRM automation. */
import type { Command, Declared, Kind } from "./kind.ts";
import { differsFrom, maps, text } from "./listed.ts";

/** The kind of triggers. */
export const triggers: Kind<"triggers"> = {
  key: "triggers",
  list: "crm.automation.trigger.list",
  parse: (listed) => maps(listed).map((fields) => ({ id: text(fields.CODE), fields })),
  id: ({ code }) => code,
  differs: ({ name }, registered) => differsFrom(name, registered.NAME),
  add,
  // Adding a trigger again updates it.
  update: (declared) => [add(declared)],
  remove: ({ CODE }) => ["crm.automation.trigger.delete", { CODE }],
};

function add({ code, name }: Declared<"triggers">): Command {
  return ["crm.automation.trigger.add", { CODE: code, NAME: name }];
}
