/** Makes what pages render with. */
import type { FrameContext } from "./frame.ts";
import { type Html, markup } from "./html.ts";
import type { PageParams } from "./page.ts";
import { type Language, textsIn } from "./texts.ts";

/** Parts of {@linkcode frameContext}. */
export interface ContextParts {
  readonly base: string;
  readonly language: Language;
  readonly here: string;
  readonly params: PageParams;
  readonly now: number;
}

const UNITS = [["day", 86_400_000], ["hour", 3_600_000], ["minute", 60_000], ["second", 1000]] as const;

/** Returns the context of a frame. */
export function frameContext({ base, language, here, params, now }: ContextParts): FrameContext {
  const numbers = new Intl.NumberFormat(language);
  const unit = (value: number, unit: string): string =>
    new Intl.NumberFormat(language, { style: "unit", unit, unitDisplay: "short" }).format(value);
  return {
    ...{ language, here, params, now },
    t: textsIn(language),
    number: (value) => numbers.format(value),
    time: timeElement,
    duration: (ms) => {
      if (ms < 1000) return unit(Math.round(ms), "millisecond");
      const largest = UNITS.findIndex(([, size]) => ms >= size);
      let rest = ms;
      const parts = UNITS.slice(largest, largest + 2).map(([name, size]) => {
        const value = Math.floor(rest / size);
        rest -= value * size;
        return value === 0 ? "" : unit(value, name);
      });
      return parts.filter((part) => part !== "").join(" ");
    },
    href: (path, query = {}) => {
      const search = new URLSearchParams(
        Object.entries(query).flatMap(([name, value]) => value === undefined ? [] : [[name, String(value)]]),
      ).toString();
      return `${base}${path}${search === "" ? "" : `?${search}`}`;
    },
  };
}

function timeElement(ms: number, style?: "day"): Html {
  const iso = new Date(ms).toISOString();
  if (style === "day") return markup`<time datetime="${iso}" data-day>${iso.slice(0, 10)}</time>`;
  return markup`<time datetime="${iso}">${iso.slice(0, 19).replace("T", " ")} UTC</time>`;
}
