import assert from "node:assert/strict";
import { inDropOrder } from "../../../src/outbox/kept.ts";
import { describe, it } from "../../support/test.ts";

describe("inDropOrder()", () => {
  it("takes the oldest dead letter of the plugin that has the most, whoever has older ones", () => {
    const letters = [
      ...[1, 2].map((deadAt) => ({ plugin: "mail", deadAt })),
      ...[6, 4, 5, 3].map((deadAt) => ({ plugin: "chat", deadAt })),
    ];
    const order = inDropOrder(letters).map(({ plugin, deadAt }) => `${plugin} ${deadAt}`);
    assert.deepEqual(order, ["chat 3", "chat 4", "mail 1", "chat 5", "mail 2", "chat 6"]);
    assert.deepEqual(inDropOrder([]), []);
  });
});
