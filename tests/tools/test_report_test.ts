import assert from "node:assert/strict";
import { missingIn, readReport } from "../../scripts/test_report.ts";
import { test } from "../support/test.ts";

// The same tests, as either runtime reports them.
const DENO = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="7" failures="2" errors="0" time="0.031">
    <testsuite name="./tests/a_test.ts" tests="3" disabled="0" errors="0" failures="1">
        <testcase name="alone" classname="./tests/a_test.ts" time="0.001" line="4" col="1">
        </testcase>
        <testcase name="group" classname="./tests/a_test.ts" time="0.005" line="5" col="1">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="left out" classname="./tests/a_test.ts" time="0.000" line="9" col="1">
            <skipped/>
        </testcase>
    </testsuite>
    <testsuite name="ext:deno_node/testing.ts" tests="4" disabled="0" errors="0" failures="1">
        <testcase name="group &gt; a &lt;b&gt; &quot;c&quot;" classname="ext:deno_node/testing.ts" time="0" line="1" col="2">
        </testcase>
        <testcase name="group &gt; inner" classname="ext:deno_node/testing.ts" time="0.001" line="1" col="21231">
        </testcase>
        <testcase name="group &gt; inner &gt; leaf" classname="ext:deno_node/testing.ts" time="0.000" line="1" col="2">
            <failure message="Uncaught Error: x">Error: x</failure>
        </testcase>
    </testsuite>
</testsuites>`;

const NODE = `<?xml version="1.0" encoding="utf-8"?>
<testsuites>
	<testcase name="alone" time="0.000622" classname="test"/>
	<testsuite name="group" time="0.000832" disabled="0" errors="0" tests="2" failures="1" skipped="0" hostname="vm">
		<testcase name="a &lt;b> &amp;quot;c&amp;quot;" time="0.000135" classname="test"/>
		<testsuite name="inner" time="0.000208" disabled="0" errors="0" tests="1" failures="0" skipped="0" hostname="vm">
			<testcase name="leaf" time="0.000126" classname="test" failure="x">
				<failure type="testCodeFailure" message="x">
Error [ERR_TEST_FAILURE]: x
				</failure>
			</testcase>
		</testsuite>
	</testsuite>
	<testcase name="left out" time="0.001183" classname="test">
		<skipped type="skipped" message="true"/>
	</testcase>
	<!-- tests 4 -->
</testsuites>`;

for (const [runtime, xml] of Object.entries({ DENO, NODE })) {
  test(`readReport() counts leaf tests of ${runtime}, and skipped ones as failed`, () => {
    const { passed, failed, errors } = readReport(xml);
    assert.deepEqual(passed, ["alone", 'group > a <b> "c"']);
    assert.deepEqual([...failed].sort(), ["group > inner > leaf", "left out"]);
    assert.deepEqual(errors, [runtime === "DENO" ? "Uncaught Error: x" : "x"]);
  });
}

test("readReport() finds no test in an empty report", () => {
  for (const xml of ["", "<testsuites>\n</testsuites>", '<testsuites name="deno test" tests="0"></testsuites>']) {
    assert.deepEqual(readReport(xml), { passed: [], failed: [], errors: [] });
  }
});

test("missingIn() names what one run had and the other had not, as often", () => {
  const a = { passed: ["x", "x", "y"], failed: ["z"] };
  assert.deepEqual(missingIn({ passed: ["z"], failed: ["x"] }, a), ["x", "y"]);
  assert.deepEqual(missingIn(a, a), []);
});
