import assert from "node:assert/strict";
import { areaChart, niceCeiling, shareBar } from "../../../../plugins/operator_console/charts.ts";
import { describe, it } from "../../../support/test.ts";

describe("areaChart()", () => {
  it("stacks layers, names and describes them, and writes its scale beside it", () => {
    const chart = String(areaChart({
      ...{ id: "c", title: "Portals <by> version", description: "2.0.0: 6, 1.0.0: 2", times: [0, 5, 10] },
      layers: [{ name: "layer-1", values: [0, 4, 6] }, { name: "layer-2", values: [8, 4, 2] }],
      number: (value) => `n${value}`,
    }));
    assert.match(chart, /role="img" aria-labelledby="c-title c-desc"/);
    assert.match(
      chart,
      /<title id="c-title">Portals &lt;by&gt; version<\/title><desc id="c-desc">2\.0\.0: 6, 1\.0\.0: 2<\/desc>/,
    );
    assert.deepEqual([...chart.matchAll(/class="layer (\S+)" d="([^"]+)"/g)].map(([, name, path]) => [name, path]), [
      ["layer-1", "M0,400L500,200L1000,100L1000,400L500,400L0,400Z"],
      ["layer-2", "M0,0L500,0L1000,0L1000,100L500,200L0,400Z"],
    ]);
    assert.deepEqual([...chart.matchAll(/<li>(\w+)<\/li>/g)].map(([, text]) => text), ["n8", "n6", "n4", "n2", "n0"]);
    assert.doesNotMatch(chart, /style=/);
  });

  it("is drawn for no portals, and for values of any size", () => {
    for (const value of [0, 1, 999_999_999]) {
      const chart = String(areaChart({
        ...{ id: "c", title: "t", description: "d", times: [7, 7], number: String },
        layers: [{ name: "layer-1", values: [value, value] }],
      }));
      assert.doesNotMatch(chart, /NaN|Infinity/);
    }
  });
});

describe("niceCeiling()", () => {
  it("returns the lowest number whose quarters are whole and that is not below a value", () => {
    const cases = [[4, 4], [5, 8], [9, 12], [12, 12], [13, 16], [99, 100], [101, 120], [1253, 1600], [3333, 4000], [
      81_000,
      100_000,
    ]];
    for (const [value, wanted] of cases) {
      const nice = niceCeiling(value!);
      assert.deepEqual([nice, Number.isInteger(nice / 4)], [wanted, true], String(value));
    }
  });
});

describe("shareBar()", () => {
  it("draws parts as long as their share, rare ones wide enough to be seen, and says what it shows", () => {
    const bar = String(shareBar('"3" of 4', [
      ...[{ name: "fill-current", value: 3000 }, { name: "fill-blocked", value: 0 }, { name: "fill-parked", value: 1 }],
    ]));
    assert.match(bar, /role="img" aria-label="&quot;3&quot; of 4"/);
    const widths = [...bar.matchAll(/class="(fill-\w+)" x="[\d.]+" width="([\d.]+)"/g)].map((
      [, name, width],
    ) => [name, Number(width)]);
    assert.deepEqual(widths.map(([name]) => name), ["fill-current", "fill-parked"]);
    assert.ok(Number(widths[0]![1]) > 990 && Number(widths[1]![1]) >= 5, JSON.stringify(widths));
  });

  it("leaves room for what is not done", () => {
    assert.match(String(shareBar("1 of 4", [{ name: "fill-current", value: 1 }], 4)), /fill-rest.*width="250"/s);
    assert.match(String(shareBar("none", [{ name: "fill-current", value: 0 }], 0)), /fill-rest/);
  });
});
