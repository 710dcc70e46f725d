/** The REST methods for robots, activities, message senders and triggers of a fake portal. */
import { Refusal } from "./errors.ts";
import {
  addRegistration,
  adminMethod,
  haveSame,
  isEmpty,
  type Methods,
  removeRegistrations,
  requireHandler,
  updateRegistrations,
  withUpperCaseKeys,
} from "./registering.ts";
import { isMap } from "./request.ts";
import type { FakeRegistration } from "./state.ts";

const CODE = /^[a-z0-9.\-_]+$/i;

/** Checks the code of a robot, an activity or a message sender, before all else. */
function requireCode(given: FakeRegistration, what: "activity" | "sender"): void {
  const error = `ERROR_${what.toUpperCase()}_VALIDATION_FAILURE`;
  if (isEmpty(given["CODE"])) throw new Refusal(error, { description: `Empty ${what} code!` });
  if (!CODE.test(String(given["CODE"]))) throw new Refusal(error, { description: `Wrong ${what} code!` });
}

function requireName(given: FakeRegistration, what: "activity" | "sender"): void {
  const error = `ERROR_${what.toUpperCase()}_VALIDATION_FAILURE`;
  if (isEmpty(given["NAME"])) throw new Refusal(error, { description: `Empty ${what} NAME!` });
}

function hasCodeOf(given: FakeRegistration): (registered: FakeRegistration) => boolean {
  return (registered) => haveSame(registered, given, "CODE");
}

function bizprocMethods(kind: "robots" | "activities"): Methods {
  const prefix = `bizproc.${kind === "robots" ? "robot" : "activity"}`;
  return [
    [
      `${prefix}.add`,
      adminMethod(({ portal, given }) => {
        requireCode(given, "activity");
        requireHandler(given);
        requireName(given, "activity");
        if (given["USE_PLACEMENT"] === "Y") requireHandler(given, "PLACEMENT_HANDLER");
        // Robots and activities share a namespace of codes.
        const { robots, activities } = portal.registrations;
        if ([...robots, ...activities].some(hasCodeOf(given))) throw new Refusal("ERROR_ACTIVITY_ALREADY_INSTALLED");
        return addRegistration(portal, kind, given);
      }),
    ],
    [
      `${prefix}.update`,
      adminMethod(({ portal, given }) => {
        requireCode(given, "activity");
        const fields = given["FIELDS"];
        if (!isMap(fields) || Object.keys(fields).length === 0) {
          throw new Refusal("ERROR_ACTIVITY_VALIDATION_FAILURE", { description: "No fields to update!" });
        }
        const next = withUpperCaseKeys(fields);
        if ("HANDLER" in next) requireHandler(next);
        if (!updateRegistrations(portal, kind, hasCodeOf(given), next)) throw new Refusal("ERROR_ACTIVITY_NOT_FOUND");
        return true;
      }),
    ],
    [
      `${prefix}.delete`,
      adminMethod(({ portal, given }) => {
        requireCode(given, "activity");
        if (removeRegistrations(portal, kind, hasCodeOf(given)) === 0) throw new Refusal("ERROR_ACTIVITY_NOT_FOUND");
        return true;
      }),
    ],
    [`${prefix}.list`, adminMethod(({ portal }) => portal.registrations[kind].map((registered) => registered["CODE"]))],
  ];
}

const SENDERS: Methods = [
  [
    "messageservice.sender.add",
    adminMethod(({ portal, given }) => {
      requireCode(given, "sender");
      requireHandler(given);
      requireName(given, "sender");
      if (isEmpty(given["TYPE"])) {
        throw new Refusal("ERROR_SENDER_VALIDATION_FAILURE", { description: "Empty sender message TYPE!" });
      }
      if (given["TYPE"] !== "SMS") {
        throw new Refusal("ERROR_SENDER_VALIDATION_FAILURE", { description: "Unknown sender message TYPE!" });
      }
      if (portal.registrations.senders.some(hasCodeOf(given))) throw new Refusal("ERROR_SENDER_ALREADY_INSTALLED");
      return addRegistration(portal, "senders", given);
    }),
  ],
  [
    "messageservice.sender.update",
    adminMethod(({ portal, given }) => {
      requireCode(given, "sender");
      if ("HANDLER" in given) requireHandler(given);
      if (!updateRegistrations(portal, "senders", hasCodeOf(given), given)) throw new Refusal("ERROR_SENDER_NOT_FOUND");
      return true;
    }),
  ],
  [
    "messageservice.sender.delete",
    adminMethod(({ portal, given }) => {
      requireCode(given, "sender");
      if (removeRegistrations(portal, "senders", hasCodeOf(given)) === 0) throw new Refusal("ERROR_SENDER_NOT_FOUND");
      return true;
    }),
  ],
  [
    "messageservice.sender.list",
    adminMethod(({ portal }) => portal.registrations.senders.map((registered) => registered["CODE"])),
  ],
];

/** The errors of triggers have no code. */
function requireTriggerCode(given: FakeRegistration): void {
  if (isEmpty(given["CODE"])) throw new Refusal("", { description: "Empty trigger code!" });
  if (!CODE.test(String(given["CODE"]))) throw new Refusal("", { description: "Wrong trigger code!" });
}

const TRIGGERS: Methods = [
  [
    "crm.automation.trigger.add",
    adminMethod(({ portal, given }) => {
      requireTriggerCode(given);
      if (isEmpty(given["NAME"])) throw new Refusal("", { description: "Empty trigger name!" });
      removeRegistrations(portal, "triggers", hasCodeOf(given));
      return addRegistration(portal, "triggers", given);
    }),
  ],
  [
    "crm.automation.trigger.delete",
    adminMethod(({ portal, given }) => {
      requireTriggerCode(given);
      if (removeRegistrations(portal, "triggers", hasCodeOf(given)) === 0) {
        throw new Refusal("", { description: "Trigger not found" });
      }
      return true;
    }),
  ],
  [
    "crm.automation.trigger.list",
    adminMethod(({ portal }) => portal.registrations.triggers.map(({ CODE, NAME }) => ({ NAME, CODE }))),
  ],
];

/** Methods by name, in lower case. */
export const AUTOMATION_METHODS: Methods = [
  ...bizprocMethods("robots"),
  ...bizprocMethods("activities"),
  ...SENDERS,
  ...TRIGGERS,
];
