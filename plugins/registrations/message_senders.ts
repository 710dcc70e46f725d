/** Providers of text messages. */
import { type Command, type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { codes } from "./listed.ts";

/** The kind of message senders. */
export const messageSenders: Kind<"messageSenders"> = {
  key: "messageSenders",
  list: "messageservice.sender.list",
  parse: codes,
  id: ({ code }) => code,
  hasUnlistedFields: () => true,
  add: (declared) => ["messageservice.sender.add", { TYPE: "SMS", ...fields(declared) }],
  update: (declared) => [update(declared)],
  ifExists: update,
  remove: ({ CODE }) => ["messageservice.sender.delete", { CODE }],
};

function update(declared: Declared<"messageSenders">): Command {
  return ["messageservice.sender.update", fields(declared)];
}

function fields({ code, handler, name, description }: Declared<"messageSenders">): object {
  return withoutUndefined({ CODE: code, HANDLER: handler, NAME: name, DESCRIPTION: description });
}
