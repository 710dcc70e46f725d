/** Key presses at a stand-in: one runs a command, or begins a line that is typed. */
import { STAND_IN_COMMANDS } from "./commands.ts";

/** The action of a key press. */
export type KeyAction =
  | { readonly kind: "run"; readonly line: string }
  | { readonly kind: "help" }
  | { readonly kind: "quit" }
  /** The line that is being typed; `undefined` once it is given up. */
  | { readonly kind: "typing"; readonly line: string | undefined };

const BY_KEY: ReadonlyMap<string, string> = new Map([
  ...STAND_IN_COMMANDS.flatMap(({ key, name }) => key === undefined ? [] : [[key, name] as const]),
  ["o", "open user"],
]);

/** Returns the keys and what they run, for the help. */
export function keyBindings(): readonly (readonly [key: string, line: string])[] {
  return [...BY_KEY];
}

/** Keys of the Russian layout, as the Latin layout names them: the same key runs the same command. */
const LATIN: ReadonlyMap<string, string> = new Map([
  ...Array.from("йцукенгшщзфывапролдячсмить", (letter, i) => [letter, "qwertyuiopasdfghjklzxcvbnm"[i]!] as const),
  ["Ж", ":"],
  [",", "?"],
]);

const ENTER = new Set(["\r", "\n"]);
const BACKSPACE = new Set(["\x7f", "\b"]);
const CTRL_C = "\x03";
const CTRL_D = "\x04";
const CTRL_U = "\x15";
const ESCAPE = "\x1b";

/**
 * Returns a function that takes what a terminal in raw mode sends, and returns what it asks for. `:` or Enter begins a line,
 * Enter ends it, Escape gives it up.
 */
export function createKeyReader(): (input: string) => KeyAction[] {
  let line: string | undefined;

  function typed(character: string): KeyAction[] {
    if (line === undefined) return [];
    if (ENTER.has(character)) {
      const done = line.trim();
      line = undefined;
      return [{ kind: "typing", line }, ...(done === "" ? [] : [{ kind: "run", line: done } as const])];
    }
    if (character === ESCAPE) line = undefined;
    else if (character === CTRL_U) line = "";
    else if (BACKSPACE.has(character)) line = line.slice(0, -1);
    // Control characters would move the cursor.
    else if (character >= " ") line += character;
    return [{ kind: "typing", line }];
  }

  function pressed(character: string): KeyAction[] {
    if (character === CTRL_C) return [{ kind: "quit" }];
    if (line !== undefined) return typed(character);
    const key = LATIN.get(character) ?? character;
    if (key === "q" || key === CTRL_D) return [{ kind: "quit" }];
    if (key === "?") return [{ kind: "help" }];
    if (key === ":" || ENTER.has(key)) {
      line = "";
      return [{ kind: "typing", line }];
    }
    const command = BY_KEY.get(key);
    return command === undefined ? [] : [{ kind: "run", line: command }];
  }

  return (input) => {
    // Arrow keys and the like begin with Escape and have more characters.
    if (input.length > 1 && input.startsWith(ESCAPE)) return [];
    return [...input].flatMap(pressed);
  };
}
