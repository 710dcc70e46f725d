/** Reads the JUnit reports of `deno test` and `node --test`, and counts the same in both: tests that contain no others. */

/** Full names of the tests of one run, without groups. */
export interface TestReport {
  readonly passed: readonly string[];
  /** Failed or skipped tests. A skipped test counts as failed, because it checks nothing. */
  readonly failed: readonly string[];
  /** The first lines of their errors, each once. */
  readonly errors?: readonly string[];
}

const SEPARATOR = " > ";
const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };

/** Returns the tests of a report. Deno lists groups and tests flat, Node nests them. */
export function readReport(xml: string): TestReport {
  const flat = xml.includes('<testsuites name="deno test"');
  const groups: string[] = [];
  const tests: { name: string; ok: boolean; error?: string }[] = [];
  const tags = /<(\/?)(testsuite|testcase)\b((?:\s+[\w-]+="[^"]*")*)\s*(\/?)>/g;
  for (const { 1: end, 2: tag, 3: attributes = "", 4: empty, index, 0: text } of xml.matchAll(tags)) {
    const name = decode(/\sname="([^"]*)"/.exec(attributes)?.[1] ?? "");
    if (tag === "testsuite") {
      if (end) groups.pop();
      else if (!empty) groups.push(name);
    } else if (!end) {
      const start = index + text.length;
      const body = empty ? "" : xml.slice(start, xml.indexOf("</testcase>", start));
      const message = /<failure\b[^>]*\smessage="([^"\n]*)/.exec(body)?.[1];
      tests.push({
        name: flat ? name : [...groups, name].join(SEPARATOR),
        ok: !/<(failure|error|skipped)\b/.test(body),
        ...(message === undefined ? {} : { error: decode(message) }),
      });
    }
  }
  // On Deno, a group is a test too: its name is the beginning of others.
  const leaves = flat ? tests.filter(({ name }) => !tests.some((t) => t.name.startsWith(name + SEPARATOR))) : tests;
  const failed = leaves.filter((test) => !test.ok);
  return {
    passed: leaves.filter((test) => test.ok).map((test) => test.name),
    failed: failed.map((test) => test.name),
    errors: [...new Set(failed.flatMap(({ error }) => error ?? []))],
  };
}

// Decodes twice, because Node 22 escapes quotation marks twice.
function decode(text: string): string {
  const once = (t: string): string => t.replace(/&(lt|gt|quot|apos|amp);/g, (_, name) => ENTITIES[name]!);
  return once(once(text));
}

/** Returns the names of the tests that `a` ran and `b` did not, each as often as it is missing. */
export function missingIn(b: TestReport, a: TestReport): string[] {
  const left = [...b.passed, ...b.failed];
  return [...a.passed, ...a.failed].filter((name) => {
    const at = left.indexOf(name);
    if (at >= 0) left.splice(at, 1);
    return at < 0;
  });
}
