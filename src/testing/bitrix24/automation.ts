/** The REST methods for robots, activities, message senders and triggers of a fake portal. */
import { Refusal } from "./errors.ts";
import { added, admin, changed, handler, isEmpty, type Methods, removed, same, upper } from "./registering.ts";
import { isMap } from "./request.ts";
import type { FakeRegistration } from "./state.ts";

const CODE = /^[a-z0-9.\-_]+$/i;

/** The code of a robot, an activity or a message sender; checked before all else. */
function code(given: FakeRegistration, what: "activity" | "sender"): void {
  const error = `ERROR_${what.toUpperCase()}_VALIDATION_FAILURE`;
  if (isEmpty(given["CODE"])) throw new Refusal(error, { description: `Empty ${what} code!` });
  if (!CODE.test(String(given["CODE"]))) throw new Refusal(error, { description: `Wrong ${what} code!` });
}

function named(given: FakeRegistration, what: "activity" | "sender"): void {
  const error = `ERROR_${what.toUpperCase()}_VALIDATION_FAILURE`;
  if (isEmpty(given["NAME"])) throw new Refusal(error, { description: `Empty ${what} NAME!` });
}

function withCode(given: FakeRegistration): (there: FakeRegistration) => boolean {
  return (there) => same(there, given, "CODE");
}

function bizproc(kind: "robots" | "activities"): Methods {
  const prefix = `bizproc.${kind === "robots" ? "robot" : "activity"}`;
  return [
    [
      `${prefix}.add`,
      admin(({ portal, given }) => {
        code(given, "activity");
        handler(given);
        named(given, "activity");
        if (given["USE_PLACEMENT"] === "Y") handler(given, "PLACEMENT_HANDLER");
        // Robots and activities share their codes.
        const { robots, activities } = portal.registrations;
        if ([...robots, ...activities].some(withCode(given))) throw new Refusal("ERROR_ACTIVITY_ALREADY_INSTALLED");
        return added(portal, kind, given);
      }),
    ],
    [
      `${prefix}.update`,
      admin(({ portal, given }) => {
        code(given, "activity");
        const fields = given["FIELDS"];
        if (!isMap(fields) || Object.keys(fields).length === 0) {
          throw new Refusal("ERROR_ACTIVITY_VALIDATION_FAILURE", { description: "No fields to update!" });
        }
        const next = upper(fields);
        if ("HANDLER" in next) handler(next);
        if (!changed(portal, kind, withCode(given), next)) throw new Refusal("ERROR_ACTIVITY_NOT_FOUND");
        return true;
      }),
    ],
    [
      `${prefix}.delete`,
      admin(({ portal, given }) => {
        code(given, "activity");
        if (removed(portal, kind, withCode(given)) === 0) throw new Refusal("ERROR_ACTIVITY_NOT_FOUND");
        return true;
      }),
    ],
    [`${prefix}.list`, admin(({ portal }) => portal.registrations[kind].map((there) => there["CODE"]))],
  ];
}

const SENDERS: Methods = [
  [
    "messageservice.sender.add",
    admin(({ portal, given }) => {
      code(given, "sender");
      handler(given);
      named(given, "sender");
      if (isEmpty(given["TYPE"])) {
        throw new Refusal("ERROR_SENDER_VALIDATION_FAILURE", { description: "Empty sender message TYPE!" });
      }
      if (given["TYPE"] !== "SMS") {
        throw new Refusal("ERROR_SENDER_VALIDATION_FAILURE", { description: "Unknown sender message TYPE!" });
      }
      if (portal.registrations.senders.some(withCode(given))) throw new Refusal("ERROR_SENDER_ALREADY_INSTALLED");
      return added(portal, "senders", given);
    }),
  ],
  [
    "messageservice.sender.update",
    admin(({ portal, given }) => {
      code(given, "sender");
      if ("HANDLER" in given) handler(given);
      if (!changed(portal, "senders", withCode(given), given)) throw new Refusal("ERROR_SENDER_NOT_FOUND");
      return true;
    }),
  ],
  [
    "messageservice.sender.delete",
    admin(({ portal, given }) => {
      code(given, "sender");
      if (removed(portal, "senders", withCode(given)) === 0) throw new Refusal("ERROR_SENDER_NOT_FOUND");
      return true;
    }),
  ],
  [
    "messageservice.sender.list",
    admin(({ portal }) => portal.registrations.senders.map((there) => there["CODE"])),
  ],
];

/** These errors have no code. */
function trigger(given: FakeRegistration): void {
  if (isEmpty(given["CODE"])) throw new Refusal("", { description: "Empty trigger code!" });
  if (!CODE.test(String(given["CODE"]))) throw new Refusal("", { description: "Wrong trigger code!" });
}

const TRIGGERS: Methods = [
  [
    "crm.automation.trigger.add",
    admin(({ portal, given }) => {
      trigger(given);
      if (isEmpty(given["NAME"])) throw new Refusal("", { description: "Empty trigger name!" });
      removed(portal, "triggers", withCode(given));
      return added(portal, "triggers", given);
    }),
  ],
  [
    "crm.automation.trigger.delete",
    admin(({ portal, given }) => {
      trigger(given);
      if (removed(portal, "triggers", withCode(given)) === 0) {
        throw new Refusal("", { description: "Trigger not found" });
      }
      return true;
    }),
  ],
  [
    "crm.automation.trigger.list",
    admin(({ portal }) => portal.registrations.triggers.map(({ CODE, NAME }) => ({ NAME, CODE }))),
  ],
];

/** By name, in lower case. */
export const AUTOMATION_METHODS: Methods = [...bizproc("robots"), ...bizproc("activities"), ...SENDERS, ...TRIGGERS];
