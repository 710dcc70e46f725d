/** Validates declarations: what Bitrix24 would refuse, or store differently. */
import * as z from "zod";
import type { Declaration } from "./declaration.ts";
import { declaredOf, KINDS } from "./kinds.ts";
import { hideUrlSecrets } from "./redaction.ts";

/** Bitrix24 truncates or refuses URLs from this length on. */
const HANDLER_LENGTH = 180;

const nonEmpty = z.string().min(1);
const name = z.string().regex(/^[A-Z][A-Z0-9_]*$/, "wanted a name in upper case");
/** Bitrix24 stores these in lower case. */
const lower = nonEmpty.refine((id) => id === id.toLowerCase(), "wanted lower case");
const handler = z.string().max(HANDLER_LENGTH - 1, `wanted fewer than ${HANDLER_LENGTH} characters`)
  .refine(
    (url) => URL.canParse(url) && new URL(url).protocol === "https:",
    "wanted a URL that begins with https://",
  );
const userId = z.number().int().positive().optional();
const description = z.string().optional();

/** An object without other fields. The error of another one lists those that exist. */
function strictObject<Shape extends z.ZodRawShape>(shape: Shape): z.ZodObject<Shape, z.core.$strict> {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys"
        ? `unknown ${issue.keys.map((key) => JSON.stringify(key)).join(", ")}, wanted ${Object.keys(shape).join(", ")}`
        : undefined,
  });
}

/** `own` names parameters that have their own fields. */
function paramsIn(
  letters: "lower" | "upper",
  ...own: readonly string[]
): z.ZodOptional<z.ZodRecord<z.ZodString, z.ZodUnknown>> {
  return z.record(z.string(), z.unknown()).superRefine((params, ctx) => {
    for (const [name, value] of Object.entries(params)) {
      const wire = letters === "lower" ? name.toLowerCase() : name.toUpperCase();
      const add = (message: string): void => ctx.addIssue({ code: "custom", path: [name], message });
      if (own.includes(wire)) add("wanted in its own field, not in params");
      else if (name !== wire) add(`wanted a name in ${letters} case`);
      else if (wire === "PLACEMENT_HANDLER" && !handler.safeParse(value).success) {
        add(`wanted an https URL of fewer than ${HANDLER_LENGTH} characters`);
      }
    }
  }).optional();
}

const event = strictObject({
  event: name,
  handler: handler.optional(),
  userId,
  offline: z.boolean().optional(),
  authConnector: nonEmpty.optional(),
  params: paramsIn("lower", "event", "handler", "auth_type", "event_type", "auth_connector"),
}).refine(({ handler, offline }) => handler !== undefined || offline === true, {
  path: ["handler"],
  message: "wanted a URL, or offline: true",
});

const placement = strictObject({
  placement: name,
  handler,
  title: z.string().optional(),
  description,
  userId,
  params: paramsIn("upper", "PLACEMENT", "HANDLER", "TITLE", "DESCRIPTION", "USER_ID"),
});

const robot = strictObject({
  code: z.string().regex(/^[\w.-]+$/, "wanted letters, digits, dots, hyphens and underscores"),
  handler,
  name: z.union([nonEmpty, z.record(z.string(), nonEmpty)]),
  userId,
  params: paramsIn("upper", "CODE", "HANDLER", "NAME", "AUTH_USER_ID"),
});

const messageSender = strictObject({ code: nonEmpty, handler, name: nonEmpty, description });

const userFieldType = strictObject({
  type: lower,
  handler,
  title: nonEmpty,
  description,
  params: paramsIn("upper", "USER_TYPE_ID", "HANDLER", "TITLE", "DESCRIPTION"),
});

const connector = strictObject({
  id: lower.refine((id) => !id.includes("."), "wanted no dots"),
  name: nonEmpty,
  icon: z.record(z.string(), z.unknown()),
  handler,
  params: paramsIn("upper", "ID", "NAME", "ICON", "PLACEMENT_HANDLER"),
});

const trigger = strictObject({ code: nonEmpty, name: nonEmpty });

const DECLARATION = strictObject({
  events: z.array(event),
  placements: z.array(placement),
  robots: z.array(robot),
  activities: z.array(robot),
  messageSenders: z.array(messageSender),
  userFieldTypes: z.array(userFieldType),
  connectors: z.array(connector),
  triggers: z.array(trigger),
}).partial();

/** @throws {TypeError} naming each field that is wrong */
export function assertDeclaration(declaration: Declaration): void {
  const { success, error } = DECLARATION.safeParse(declaration);
  const problems = success ? conflictsIn(declaration) : error.issues.map(({ path, message }) => {
    const seen = path.reduce<unknown>(
      (value, key) => (value as Readonly<Record<PropertyKey, unknown>> | undefined)?.[key],
      declaration,
    );
    // Only strings: the message describes other values.
    const saw = typeof seen === "string" ? `, saw ${JSON.stringify(hideUrlSecrets(seen).slice(0, 80))}` : "";
    return `${path.join(".") || "declaration"}: ${message}${saw}`;
  });
  if (problems.length > 0) throw new TypeError(`cannot declare registrations: ${problems.join("; ")}`);
}

/** Returns declarations that exclude each other. */
function conflictsIn(declaration: Declaration): string[] {
  const problems: string[] = [];
  for (const kind of KINDS) {
    const seen = new Set<string>();
    for (const [i, declared] of declaredOf(kind, declaration).entries()) {
      const id = kind.id(declared);
      if (seen.has(id)) problems.push(`${kind.key}.${i}: ${hideUrlSecrets(id)} is declared twice`);
      seen.add(id);
    }
  }
  const { robots = [], activities = [], userFieldTypes = [] } = declaration;
  for (const [i, { code }] of activities.entries()) {
    if (robots.some((robot) => robot.code === code)) {
      problems.push(`activities.${i}: ${code} is also the code of a robot`);
    }
  }
  for (const [i, { handler }] of userFieldTypes.entries()) {
    if (userFieldTypes.findIndex((type) => type.handler === handler) === i) continue;
    problems.push(`userFieldTypes.${i}.handler: wanted a handler that no other type has`);
  }
  return problems;
}
