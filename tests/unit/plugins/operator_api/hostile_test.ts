import assert from "node:assert/strict";
import { it } from "../../../support/test.ts";
import { apiRig } from "./_api.ts";

it("a request with many mistakes is answered with the first 20", async () => {
  const { app, call } = apiRig({}, { bodyBytes: 2 ** 20 });
  const many = Object.fromEntries(Array.from({ length: 20_000 }, (_, i) => [`f${i}`, 1]));
  for (
    const { status, body } of [
      await call("POST /pause", many),
      await call(`GET /portals?${new URLSearchParams(Array.from({ length: 2000 }, (_, i) => [`f${i}`, "1"]))}`),
    ]
  ) {
    assert.equal(status, 400);
    assert.deepEqual(
      body.error.issues.map(({ path }: { readonly path: string }) => path),
      Array.from({ length: 20 }, (_, i) => `f${i}`),
    );
  }
  await app.close();
});
