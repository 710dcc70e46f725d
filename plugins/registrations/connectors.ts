/** Connectors of open channels. */
import { type Command, type Declared, type Kind, withoutUndefined } from "./kind.ts";
import { differsFrom, isMap } from "./listed.ts";

/** The kind of connectors. */
export const connectors: Kind<"connectors"> = {
  key: "connectors",
  list: "imconnector.list",
  // The list has names by ID.
  parse: (listed) =>
    isMap(listed) ? Object.entries(listed).map(([id, name]) => ({ id, fields: { ID: id, NAME: name } })) : [],
  id: ({ id }) => id,
  differs: ({ name }, registered) => differsFrom(name, registered.NAME),
  hasUnlistedFields: () => true,
  add: register,
  // Registering a connector again updates it.
  update: (declared) => [register(declared)],
  remove: ({ ID }) => ["imconnector.unregister", { ID }],
  listsOtherApps: true,
};

function register({ id, name, icon, handler, params }: Declared<"connectors">): Command {
  return [
    "imconnector.register",
    withoutUndefined({ ID: id, NAME: name, ICON: icon, PLACEMENT_HANDLER: handler, ...params }),
  ];
}
