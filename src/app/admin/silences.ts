/** Silences of notifications: stored by operators, heeded by plugins. */
import { checkOptions, option, type OptionRules } from "../../check_options.ts";
import { FormatError, OnAppUpdateError } from "../../errors.ts";
import type { NewSilence, Silence, Silences } from "../../plugin/silences.ts";
import type { AppRuntime } from "../../plugin/runtime.ts";
import { silenceKey, SILENCES } from "../../portal/keys.ts";
import { listReadable } from "../../portal/list_readable.ts";
import type { Entry } from "../../storage/storage.ts";
import { isStored } from "../../storage/unreadable.ts";
import { isVersion, parseVersion } from "../../version.ts";
import { ATTRIBUTION_RULES } from "./attribution.ts";
import type { Audited } from "./audit.ts";

type StoredSilence = Omit<Silence, "id"> & { readonly format: typeof SILENCE_FORMAT };

/** Raised if older code would misread a silence. */
const SILENCE_FORMAT = 1;

/** Maximum time (ms) that a silence holds: nobody remembers an older one. */
const MAX_MS = 90 * 24 * 60 * 60 * 1000;

const MAX_KINDS = 32;

function rulesAt(now: number): OptionRules<NewSilence> {
  return {
    ...ATTRIBUTION_RULES,
    kinds: option.value(
      `a list of 1 to ${MAX_KINDS} kinds of notifications`,
      (kinds) =>
        Array.isArray(kinds) && kinds.length >= 1 && kinds.length <= MAX_KINDS &&
        kinds.every((kind) => typeof kind === "string" && /^[\w-]{1,100}$/.test(kind)),
    ),
    target: option.value('a version such as "3", "2.1" or "2.1.0"', (target) => isShort(target) && isVersion(target)),
    upgradeId: option.value("the id of an upgrade", isShort),
    fingerprint: option.value("a fingerprint as in portal.failure.fingerprint", isShort),
    until: option.required(option.value(
      "milliseconds since 1970 in the future, at most 90 days from now",
      (until) => typeof until === "number" && until > now && until <= now + MAX_MS,
    )),
  };
}

function isShort(value: unknown): value is string {
  return typeof value === "string" && value.trim() !== "" && value.length <= 1000;
}

/** Returns the operators' functions for silences. */
export function createSilences(runtime: AppRuntime, audited: Audited): Silences {
  const { storage, clock, random } = runtime;
  return {
    add: async (given) => {
      const since = clock();
      checkOptions("cannot add a silence", given, rulesAt(since));
      // As in portal.target, with which it is compared.
      const silence = { ...given, ...(given.target !== undefined && { target: parseVersion(given.target) }) };
      const { by, reason, until, ...match } = silence;
      if (Object.values(match).every((value) => value === undefined)) {
        throw new TypeError(
          "cannot add a silence of all notifications, wanted kinds, target, upgradeId or fingerprint",
        );
      }
      const id = random();
      await audited({ action: "silence.add", by, reason, details: { id, ...match, until } }, async () => {
        const stored: StoredSilence = { format: SILENCE_FORMAT, ...silence, since };
        await storage.put(silenceKey(id), stored, { ttlMs: until - since });
      });
      return { id, ...silence, since };
    },
    list: async () => {
      const now = clock();
      const silences: Silence[] = [];
      for await (const silence of listReadable(runtime, SILENCES, silenceOf)) {
        if (silence.until > now) silences.push(silence);
      }
      return silences;
    },
    remove: async (id, attribution) => {
      checkOptions("cannot remove a silence", attribution, ATTRIBUTION_RULES);
      const { by, reason } = attribution;
      await audited({ action: "silence.remove", by, reason, details: { id } }, async () => {
        const isHeld = id !== "" && await isStored(storage, silenceKey(id));
        if (!isHeld) throw new OnAppUpdateError("unknown_silence", `there is no silence ${JSON.stringify(id)}`);
        await storage.delete(silenceKey(id));
      });
    },
  };
}

/** @throws {FormatError} if newer code wrote the silence */
function silenceOf({ key, value: { format, ...silence } }: Entry<StoredSilence>): Silence {
  const id = key.at(-1)!;
  if (format !== SILENCE_FORMAT) throw new FormatError(`silence ${id}`, format, SILENCE_FORMAT);
  return { id, ...silence };
}
