/** Routes on silences of notifications. */
import type { Attribution, NewSilence, Silence } from "../../mod.ts";
import { ApiError } from "./api_error.ts";
import { line, UPGRADE_ID, VERSION } from "./parameters.ts";
import { type Route, route } from "./route.ts";
import { object, type ObjectSchema, optional, wholeList } from "./schema.ts";
import { message, text, time } from "./values.ts";

type SilenceBody = Omit<NewSilence, keyof Attribution>;

const KINDS = {
  type: "array",
  items: line(100),
  description: 'Kinds of notifications, such as "portal_parked"',
} as const;

const NEW_SILENCE = object<SilenceBody>({
  kinds: optional(KINDS),
  target: optional({ ...VERSION, description: "Only notifications about this target" }),
  upgradeId: optional({ ...UPGRADE_ID, description: "Only notifications about this upgrade" }),
  fingerprint: optional(line(100, "Only notifications about failures with this fingerprint")),
  until: {
    ...{ type: "integer", minimum: 0 },
    description: "When it ends, in milliseconds since 1970: at most 90 days from now",
  },
});

const SILENCE: ObjectSchema = object<Silence>({
  id: text,
  kinds: optional({ type: "array", items: text }),
  target: optional(text),
  upgradeId: optional(text),
  fingerprint: optional(text),
  by: text,
  reason: message,
  since: time,
  until: time,
}, "Silence");

/** The routes. */
export const SILENCE_ROUTES: readonly Route[] = [
  route({
    ...{ method: "GET", path: "/silences", id: "listSilences", role: "read" },
    summary: "Lists the silences of notifications that hold",
    answer: wholeList(SILENCE),
    run: async ({ admin }) => ({ items: await admin.silences.list() }),
  }),
  route<object, SilenceBody>({
    ...{ method: "POST", path: "/silences", id: "addSilence", role: "operate", action: "silence.add" },
    summary: "Silences notifications: operators are not notified of what it matches",
    body: NEW_SILENCE,
    status: 201,
    answer: SILENCE,
    run: async ({ admin, body, attribution }) => {
      try {
        return await admin.silences.add({ ...body, ...attribution });
      } catch (error) {
        if (!(error instanceof TypeError) || !error.message.startsWith("cannot add a silence ")) throw error;
        throw new ApiError(400, { code: "invalid", message: error.message });
      }
    },
  }),
  route({
    ...{ method: "POST", path: "/silences/{id}/remove", id: "removeSilence", role: "operate" },
    action: "silence.remove",
    summary: "Ends a silence",
    answer: { type: "object", properties: {}, required: [] },
    run: async ({ admin, id, attribution }) => {
      await admin.silences.remove(id, attribution);
      return {};
    },
  }),
];
