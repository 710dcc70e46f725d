import assert from "node:assert/strict";
import type { ApiError } from "../../../../plugins/operator_api/api_error.ts";
import { readText } from "../../../../plugins/operator_api/request.ts";
import { describe, it } from "../../../support/test.ts";

describe("the body of a request", () => {
  it("is refused, and its connection freed, if it does not arrive in time", async () => {
    let isCancelled = false;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(new TextEncoder().encode("name=ada")),
      cancel: () => void (isCancelled = true),
    });
    const init = { method: "POST", body, duplex: "half" };
    await assert.rejects(
      readText(new Request("https://ops.example/", init), 1024, "a form in UTF-8", 1),
      (error: ApiError) => error.status === 408 && error.headers.connection === "close",
    );
    assert.ok(isCancelled);
  });
});
