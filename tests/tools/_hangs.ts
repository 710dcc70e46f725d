/** Tests that hang in every way that a deadline can end; run by deadline_test.ts. */
import { createServer } from "node:net";
import { after, before, beforeEach, describe, it, test } from "../support/test.ts";
import { until } from "../support/until.ts";

const hang = (): Promise<void> => new Promise(() => {});
const short = { timeout: 200 };

describe("a group", () => {
  it("hangs", short, hang);
  it("runs", () => {});
});
test("hangs with a server that listens", short, () => {
  createServer().listen(0, "127.0.0.1");
  return hang();
});
test("polls for ever", short, () => until("what never comes", () => false));
describe("a hanging before()", () => {
  before(hang, short);
  it("does not run", () => {});
});
describe("a hanging after()", () => {
  after(hang, short);
  it("runs", () => {});
});
describe("a hanging beforeEach()", () => {
  beforeEach(hang, short);
  it("does not run", () => {});
});
test("runs at last", () => {});
