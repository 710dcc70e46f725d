/** Charts as SVG, drawn on the server. Each has a title and a description; colors are classes of the style. */
import { type Html, markup } from "./html.ts";

/** A layer of an area chart. */
export interface Layer {
  /** Class of the layer, such as `layer-1`. */
  readonly name: string;
  /** One value for each time. */
  readonly values: readonly number[];
}

/** An area chart whose layers are stacked. */
export interface AreaChart {
  /** Unique on the page. */
  readonly id: string;
  readonly title: string;
  /** Says in words what the chart shows. */
  readonly description: string;
  /** In milliseconds since 1970, rising; at least two. */
  readonly times: readonly number[];
  /** The lowest one first. */
  readonly layers: readonly Layer[];
  /** Writes a value of the axis. */
  readonly number: (value: number) => string;
}

/** The plot is stretched to the size that the style gives it; its labels are not. */
const WIDTH = 1000;
const HEIGHT = 400;

/** Returns a chart of stacked areas. */
export function areaChart({ id, title, description, times, layers, number }: AreaChart): Html {
  const sums = times.map((_, i) => layers.reduce((sum, { values }) => sum + values[i]!, 0));
  const top = niceCeiling(Math.max(...sums, 4));
  const [start, end] = [times[0]!, times.at(-1)!];
  const x = (at: number): number => round((at - start) / Math.max(end - start, 1) * WIDTH);
  const y = (value: number): number => round((1 - value / top) * HEIGHT);
  const base = times.map(() => 0);
  const areas = layers.map(({ name, values }) => {
    const from = [...base];
    values.forEach((value, i) => base[i]! += value);
    const upper = times.map((at, i) => `${x(at)},${y(base[i]!)}`);
    const lower = times.map((at, i) => `${x(at)},${y(from[i]!)}`).reverse();
    return markup`<path class="layer ${name}" d="M${upper.join("L")}L${lower.join("L")}Z"/>`;
  });
  const scale = [1, 0.75, 0.5, 0.25, 0].map((part) => part * top);
  const lines = scale.map((value) => markup`<path class="grid" d="M0,${y(value)}H${WIDTH}"/>`);
  return markup`<div class="plot"><svg viewBox="0 0 ${WIDTH} ${HEIGHT}" preserveAspectRatio="none" role="img" aria-labelledby="${id}-title ${id}-desc">
<title id="${id}-title">${title}</title><desc id="${id}-desc">${description}</desc>${areas}${lines}</svg><ul class="scale" aria-hidden="true">${
    scale.map((value) => markup`<li>${number(value)}</li>`)
  }</ul></div>`;
}

/** A part of a bar. */
export interface Part {
  /** Class of the part, such as `fill-parked`. */
  readonly name: string;
  readonly value: number;
}

/** Returns a bar whose parts are as long as their share. `label` says in words what it shows. */
export function shareBar(label: string, parts: readonly Part[], total = sumOf(parts)): Html {
  let at = 0;
  const shown = parts.filter(({ value }) => value > 0).map(({ name, value }) => {
    // Rare states stay visible.
    const width = Math.max(round(value / Math.max(total, 1) * BAR), MIN_PART);
    const part = markup`<rect class="${name}" x="${round(at)}" width="${width}" height="10"/>`;
    at += width + GAP;
    return part;
  });
  const length = Math.max(BAR, at - GAP);
  return markup`<svg class="bar" viewBox="0 0 ${
    round(length)
  } 10" preserveAspectRatio="none" role="img" aria-label="${label}">${
    total > sumOf(parts) || shown.length === 0
      ? markup`<rect class="fill-rest" width="${round(length)}" height="10"/>`
      : ""
  }${shown}</svg>`;
}

const BAR = 1000;
const MIN_PART = 6;
const GAP = 3;

function sumOf(parts: readonly Part[]): number {
  return parts.reduce((sum, { value }) => sum + value, 0);
}

/** Returns the lowest number that is not below a value and whose quarters are round. */
export function niceCeiling(value: number): number {
  const power = 10 ** Math.floor(Math.log10(value));
  const factors = power === 1 ? [4, 8, 12] : [1, 1.2, 1.6, 2, 2.4, 3.2, 4, 6, 8, 10];
  return factors.map((factor) => Math.round(factor * power)).find((nice) => nice >= value)!;
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
