/** Providers of text messages. */
import { type Command, type Declared, given, type Kind } from "./kind.ts";
import { codes } from "./listed.ts";

/** Their kind. */
export const messageSenders: Kind<"messageSenders"> = {
  key: "messageSenders",
  list: "messageservice.sender.list",
  there: codes,
  id: ({ code }) => code,
  isUnseen: () => true,
  add: (one) => ["messageservice.sender.add", { TYPE: "SMS", ...fields(one) }],
  update: (one) => [update(one)],
  otherwise: update,
  remove: ({ CODE }) => ["messageservice.sender.delete", { CODE }],
};

function update(one: Declared<"messageSenders">): Command {
  return ["messageservice.sender.update", fields(one)];
}

function fields({ code, handler, name, description }: Declared<"messageSenders">): object {
  return given({ CODE: code, HANDLER: handler, NAME: name, DESCRIPTION: description });
}
