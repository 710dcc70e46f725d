import assert from "node:assert/strict";
import { fuzzHttp } from "../../../scripts/fuzz/http.ts";
import { test } from "../../support/test.ts";

test("app.fetch() answers mutated fixtures with documented statuses and never rejects", async () => {
  const { statuses } = await fuzzHttp(1, 2000);
  for (const status of [200, 400, 405, 413, 415]) assert(statuses[status]! > 0, `${status} was never answered`);
});
