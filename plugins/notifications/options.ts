/** Rules and values of the options of channels. */
import { option, type OptionRule, Secret } from "../../mod.ts";

/** The name of a channel. */
export const NAME_RULE: OptionRule = option.text("the name of the channel");

/** Accepts a secret whose value `isValid` accepts. The error does not show it. */
export function secretRule(wanted: string, isValid: (value: string) => boolean): OptionRule {
  return option.required(
    option.value(wanted, (value) => {
      const text = value instanceof Secret ? value.reveal() : value;
      return typeof text === "string" && isValid(text);
    }, { isSecret: true }),
  );
}

/** Accepts an address that is a secret. */
export const URL_RULE: OptionRule = secretRule(
  "an address that starts with https://, or with http:// and a loopback host, without a user name",
  isChannelUrl,
);

function isChannelUrl(text: string): boolean {
  if (!URL.canParse(text)) return false;
  const { protocol, hostname, username, password } = new URL(text);
  if (username !== "" || password !== "") return false;
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
}

function isLoopback(host: string): boolean {
  return host === "localhost" || host === "[::1]" || /^127(\.\d{1,3}){3}$/.test(host);
}

/** Returns the wrapped value. */
export function secretOf(value: string | Secret): Secret {
  return value instanceof Secret ? value : new Secret(value);
}
