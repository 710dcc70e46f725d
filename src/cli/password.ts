/** `onappupdate password`: the hash of a password. */
import { Buffer } from "node:buffer";
import { randomBytes, scrypt } from "node:crypto";
import { defineCommand } from "./command.ts";
import { usageError } from "./exit.ts";
import { readInput } from "./input.ts";

/** Cost of a guess: 2^15 is 32 MiB of memory. */
const COST = { N: 2 ** 15, r: 8, p: 1, maxmem: 64 * 2 ** 20 } as const;

const SALT_BYTES = 16;
const HASH_BYTES = 32;
const MIN_LENGTH = 12;

/** Prints the scrypt hash of a password that it reads from standard input. */
export const password = defineCommand<object>({
  usage: "password",
  summary: "print the scrypt hash of a password",
  description: "Reads the password from standard input, one line, and prints its hash for the " +
    `configuration of the console. At least ${MIN_LENGTH} characters.`,
  group: "Set up:",
  examples: ["onappupdate password < password.txt", "pass show console | onappupdate password"],
  run: async ({ terminal, show }) => {
    if (terminal.isInteractive) terminal.stderr.write("Password, then Enter and Ctrl+D (it is shown as you type):\n");
    const text = (await readInput(terminal, "-")).replace(/\r?\n$/, "");
    if (/[\r\n]/.test(text)) throw usageError("cannot hash the password: saw several lines, wanted one");
    const { length } = [...text];
    if (length < MIN_LENGTH) {
      throw usageError(`cannot hash the password: saw ${length} characters, wanted at least ${MIN_LENGTH}`);
    }
    const hash = await passwordHash(text, randomBytes(SALT_BYTES));
    show({ hash }, () => hash);
  },
});

/** Returns the hash in the PHC string format: `$scrypt$ln=15,r=8,p=1$SALT$HASH`. */
export async function passwordHash(text: string, salt: Uint8Array): Promise<string> {
  const hash = await new Promise<Buffer>((resolve, reject) =>
    scrypt(text.normalize("NFC"), salt, HASH_BYTES, COST, (error, key) => error === null ? resolve(key) : reject(error))
  );
  const base64 = (bytes: Uint8Array): string => Buffer.from(bytes).toString("base64").replace(/=+$/, "");
  return `$scrypt$ln=${Math.log2(COST.N)},r=${COST.r},p=${COST.p}$${base64(salt)}$${base64(hash)}`;
}
