/** Connectors of open channels. */
import { type Command, type Declared, given, type Kind } from "./kind.ts";
import { isMap, isUnlike } from "./listed.ts";

/** Their kind. */
export const connectors: Kind<"connectors"> = {
  key: "connectors",
  list: "imconnector.list",
  // By ID, the name.
  there: (listed) =>
    isMap(listed) ? Object.entries(listed).map(([id, name]) => ({ id, fields: { ID: id, NAME: name } })) : [],
  id: ({ id }) => id,
  differs: ({ name }, there) => isUnlike(name, there.NAME),
  isUnseen: () => true,
  add: register,
  // Registering it again changes it.
  update: (one) => [register(one)],
  remove: ({ ID }) => ["imconnector.unregister", { ID }],
  hasOthers: true,
};

function register({ id, name, icon, handler, params }: Declared<"connectors">): Command {
  return ["imconnector.register", given({ ID: id, NAME: name, ICON: icon, PLACEMENT_HANDLER: handler, ...params })];
}
