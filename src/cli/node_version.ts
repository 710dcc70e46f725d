/** The oldest Node that this package runs on: see `engines` of package.json. */
const [MAJOR, MINOR] = [22, 13];

/** Returns why the command line cannot run on a version of Node, such as `20.20.2`; `undefined` if it can. */
export function nodeProblem(version: string): string | undefined {
  const [major = 0, minor = 0] = version.split(".").map(Number);
  if (major > MAJOR || (major === MAJOR && minor >= MINOR)) return undefined;
  return `onappupdate cannot run on Node ${version}, wanted Node ${MAJOR}.${MINOR} or later, or Deno 2.9`;
}
