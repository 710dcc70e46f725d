/** The rules of an app's options. */
import { hasFunctions, option, type OptionRule, type OptionRules } from "../check_options.ts";
import { isFieldsFirst } from "../logger.ts";
import { isStandInUrl } from "../net/stand_in.ts";
import { RETRY_RULES } from "../retry.ts";
import { rolloutRule } from "../rollout/options.ts";
import { Secret } from "../secret.ts";
import { storageRule } from "../storage/rule.ts";
import { isVersion, schemeRule } from "../version.ts";
import type { CheckPolicy } from "../worker/checks.ts";
import type { AppOptions, Limits, Simulation } from "./options.ts";

const duration = option.duration();
const atLeast1 = option.number({ min: 1, max: Infinity });
const hosts = (wanted: string): OptionRule =>
  option.list(wanted, option.value("a host", (host) => typeof host === "string"));

const ORIGIN = "https://app.example";

const LIMIT_RULES: OptionRules<Limits> = {
  bodyBytes: atLeast1,
  bodyTimeoutMs: duration,
  acknowledgeMs: duration,
  closeMs: duration,
  leaseMs: duration,
  retentionMs: atLeast1,
  fields: atLeast1,
  depth: atLeast1,
  keyLength: atLeast1,
  valueLength: atLeast1,
};

const CHECK_RULES: OptionRules<CheckPolicy> = {
  afterContactMs: option.number({ min: 0, max: Infinity }),
  silentPortalMs: option.number({ min: 0, max: Infinity }),
};

/** The rules of {@linkcode AppOptions}. The hosts in `oauthHosts` and `extraPortalHosts` are checked when they are parsed. */
export const OPTION_RULES: OptionRules<AppOptions & Simulation> = {
  storage: option.required(storageRule),
  clientId: option.value(
    "the client_id of the app, without spaces, or no clientId",
    (value) => typeof value === "string" && /^\S+$/.test(value),
  ),
  clientSecret: option.value(
    "the client_secret of the app, without spaces, or no clientSecret",
    (value) => /^\S+$/.test(value instanceof Secret ? value.reveal() : typeof value === "string" ? value : ""),
    { isSecret: true },
  ),
  acknowledge: option.oneOf("stored", "handled"),
  versions: schemeRule,
  initialVersion: option.value(
    'a version such as "1.0.0", or a function that returns one',
    (value) => typeof value === "function" || (typeof value === "string" && isVersion(value)),
  ),
  limits: option.object(LIMIT_RULES),
  retry: option.object(RETRY_RULES),
  concurrency: option.number({ min: 1, isWhole: true }),
  rollout: rolloutRule,
  environment: option.text('the name of an environment, such as "production"'),
  preview: option.flag(),
  allowOther: option.flag(),
  tickEveryMs: orFalse(duration),
  checks: orFalse(option.object(CHECK_RULES)),
  oauthHosts: (value, path) =>
    Array.isArray(value) && value.length === 0
      ? { path, seen: "[]", wanted: "at least one host" }
      : hosts('addresses such as "https://oauth.bitrix.info"')(value, path),
  oauthTimeoutMs: option.number({ min: 1, max: 60_000 }),
  extraPortalHosts: hosts('hosts such as "crm.example.com"'),
  clientAddress: option.function(),
  healthPath: option.value(
    'a path such as "/health"',
    (value) => typeof value === "string" && URL.canParse(value, ORIGIN) && new URL(value, ORIGIN).pathname === value,
  ),
  logger: (value, path) => {
    const isOther = typeof value === "object" && value !== null && isFieldsFirst(value);
    if (isOther) return { path, seen: "that takes fields before the message", wanted: "pinoLogger(logger)" };
    return option.value("a logger, such as consoleLogger()", hasFunctions("debug", "info", "warn", "error"))(
      value,
      path,
    );
  },
  clock: option.function(),
  fetch: option.function(),
  dev: option.value(
    'the address that "onappupdate dev" prints, such as "http://127.0.0.1:4024": http, on this machine',
    (value) => typeof value === "string" && isStandInUrl(value),
  ),
  lookup: option.function(),
  random: option.function(),
  time: option.value("a source of time", hasFunctions("setTimer")),
};

/** Also accepts `false`. */
function orFalse(rule: OptionRule): OptionRule {
  return (value, path) => {
    const problem = value === false ? undefined : rule(value, path);
    return problem?.path === path ? { ...problem, wanted: `${problem.wanted}, or false` } : problem;
  };
}
