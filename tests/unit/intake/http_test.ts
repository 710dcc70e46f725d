import assert from "node:assert/strict";
import { FORM, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

async function gzip(text: string): Promise<ArrayBuffer> {
  const stream = new Blob([text]).stream().pipeThrough(new CompressionStream("gzip"));
  return await new Response(stream).arrayBuffer();
}

describe("a body with a content-encoding", () => {
  const encoded = (body: BodyInit, encoding: string): Request =>
    new Request("http://localhost/", {
      method: "POST",
      body,
      headers: { "content-type": FORM, "content-encoding": encoding },
    });

  it("is answered 415, which names the header", async () => {
    const { app, portal } = rig();
    for (const encoding of ["gzip", "GZIP", "br", "identity, gzip", "x".repeat(1000)]) {
      // A token in the wrong place stays out of answers and logs.
      const saw = encoding.length > 24 ? "a content-encoding of 1000 characters" : `content-encoding "${encoding}"`;
      const response = await app.fetch(encoded(await gzip(portal.install(2)), encoding));
      assert.deepEqual([response.status, response.headers.get("accept-encoding")], [415, "identity"]);
      assert.deepEqual(await response.json(), {
        type: "about:blank",
        title: "Unsupported Media Type",
        status: 415,
        detail: `saw ${saw}, wanted a body without one`,
      });
    }
    await app.close();
  });

  it("is accepted if the encoding is none", async () => {
    const { app, portal } = rig();
    for (const encoding of ["identity", "Identity", ""]) {
      assert.equal((await app.fetch(encoded(portal.install(2), encoding))).status, 200);
    }
    await app.close();
  });
});
