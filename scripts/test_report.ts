/** Reads the JUnit reports of `deno test` and `node --test`, so that both count the same things: leaf tests. */

/** Full names of the tests of one run, without those that only group others. */
export interface TestReport {
  readonly passed: readonly string[];
  /** Failed or skipped: a skipped test checks nothing, so it does not pass. */
  readonly failed: readonly string[];
}

const SEPARATOR = " > ";
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** The tests in the text of a report. Deno lists every level flat, Node nests the groups. */
export function readReport(xml: string): TestReport {
  const flat = xml.includes('<testsuites name="deno test"');
  const groups: string[] = [];
  const tests: { name: string; ok: boolean }[] = [];
  const tags = /<(\/?)(testsuite|testcase)\b((?:\s+[\w-]+="[^"]*")*)\s*(\/?)>/g;
  for (const { 1: end, 2: tag, 3: attributes = "", 4: empty, index, 0: text } of xml.matchAll(tags)) {
    const name = decode(/\sname="([^"]*)"/.exec(attributes)?.[1] ?? "");
    if (tag === "testsuite") {
      if (end) groups.pop();
      else if (!empty) groups.push(name);
    } else if (!end) {
      const start = index + text.length;
      const body = empty ? "" : xml.slice(start, xml.indexOf("</testcase>", start));
      tests.push({
        name: flat ? name : [...groups, name].join(SEPARATOR),
        ok: !/<(failure|error|skipped)\b/.test(body),
      });
    }
  }
  // On Deno a group is a test as well: the one whose name others continue.
  const leaves = flat ? tests.filter(({ name }) => !tests.some((t) => t.name.startsWith(name + SEPARATOR))) : tests;
  return {
    passed: leaves.filter((test) => test.ok).map((test) => test.name),
    failed: leaves.filter((test) => !test.ok).map((test) => test.name),
  };
}

// Twice: Node 22 escapes quotation marks twice.
function decode(text: string): string {
  const once = (t: string): string => t.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => ENTITIES[name]!);
  return once(once(text));
}

/** What `a` ran that `b` did not, each name as often as it is missing. */
export function missingIn(b: TestReport, a: TestReport): string[] {
  const left = [...b.passed, ...b.failed];
  return [...a.passed, ...a.failed].filter((name) => {
    const at = left.indexOf(name);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}
