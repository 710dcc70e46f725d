/** The requests that `onappupdate simulate` sends, by its options. */
import { defined } from "../defined.ts";
import { usageError } from "./exit.ts";
import { readInput } from "./input.ts";
import {
  EVENT_NAMES,
  eventFields,
  type Fields,
  fieldsOf,
  forged,
  type Forgery,
  type Kind,
  madeUp,
  openingFields,
  type Simulated,
} from "./simulated_event.ts";
import type { Terminal } from "./terminal.ts";

/** The options of `onappupdate simulate` that say what is sent. */
export interface RequestOptions {
  readonly from?: string;
  readonly to?: string;
  readonly member?: string;
  readonly domain?: string;
  readonly token?: string;
  readonly set?: readonly (readonly [path: string, value: string | undefined])[];
  readonly body?: string;
  readonly duplicate?: number;
  readonly reorder?: true;
  readonly forge?: Forgery;
}

/** Returns the fields of all requests, in the order in which they are sent. */
export async function fieldsToSend(kind: Kind, options: RequestOptions, terminal: Terminal): Promise<Fields[]> {
  const { duplicate = 0, reorder, forge, set = [] } = options;
  let fields: Fields;
  let newer: Fields[] = [];
  if (options.body === undefined) {
    const simulated = simulatedOf(kind, options, terminal.now());
    fields = fieldsOfKind(simulated);
    if (reorder === true) newer = [fieldsOfKind(newerThan(simulated))];
  } else fields = await captured(kind, options.body, terminal);
  if (forge !== undefined) fields = forged(kind, forge, fields);
  const changed = new Map(fields);
  for (const [path, value] of set) {
    if (value === undefined) changed.delete(path);
    else changed.set(path, value);
  }
  return [...newer, ...Array.from({ length: duplicate + 1 }, () => changed)];
}

function simulatedOf(kind: Kind, options: RequestOptions, now: number): Simulated {
  const { member = madeUp("member"), domain = "example.bitrix24.com", from, to } = options;
  const { token = madeUp(`application token of ${member}`) } = options;
  return { kind, member, domain, token, ts: Math.floor(now / 1000), ...defined({ from, to }) };
}

function fieldsOfKind(simulated: Simulated): Fields {
  const { kind } = simulated;
  return kind === "open" ? openingFields(simulated) : eventFields({ ...simulated, kind });
}

/** Returns the event that a portal sends a second later: an update, or after a removal an installation. */
function newerThan(simulated: Simulated): Simulated {
  const { kind, to, ts } = simulated;
  if (kind === "uninstall") return { ...simulated, kind: "install", ts: ts + 1 };
  if (kind !== "install" && kind !== "update") return { ...simulated, ts: ts + 1 };
  const current = to ?? (kind === "install" ? "1" : "2");
  return { ...simulated, kind: "update", from: current, to: nextVersion(current), ts: ts + 1 };
}

function nextVersion(text: string): string {
  const major = Number(/\d+/.exec(text)?.[0] ?? 0);
  return String(major + 1);
}

/** @throws {ExitError} if the file is not a body of this kind */
async function captured(kind: Kind, file: string, terminal: Terminal): Promise<Fields> {
  let fields: Fields;
  try {
    fields = fieldsOf(await readInput(terminal, file));
  } catch (error) {
    if (!(error instanceof SyntaxError)) throw error;
    throw usageError(`${file} is neither a form nor JSON`, { cause: error });
  }
  const event = fields.get("event");
  if (kind !== "open" && event !== EVENT_NAMES[kind]) {
    throw usageError(`${file} has the event ${JSON.stringify(event ?? "")}, wanted ${EVENT_NAMES[kind]} for ${kind}`);
  }
  return fields;
}
