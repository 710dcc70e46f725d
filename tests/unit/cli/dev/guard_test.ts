import assert from "node:assert/strict";
import { guard, type Guarded, type GuardedRequest } from "../../../../src/cli/dev/guard.ts";
import { describe, it } from "../../../support/test.ts";

const TOKEN = "0123456789abcdef0123456789abcdef";

function ask(
  headers: GuardedRequest["headers"],
  { url = "/", method = "GET", token = undefined as string | undefined, port = 4024 } = {},
): Guarded {
  return guard({ method, url, headers }, { port, token });
}

function status(...args: Parameters<typeof ask>): number {
  const guarded = ask(...args);
  return "status" in guarded ? guarded.status : 200;
}

describe("guard()", () => {
  for (const host of ["127.0.0.1:4024", "localhost:4024", "[::1]:4024", "LOCALHOST:4024"]) {
    it(`answers by the name ${host}`, () => assert.equal(status({ host }), 200));
  }

  const foreign = [
    "evil.example:4024",
    "127.0.0.1.evil.example:4024",
    "127.0.0.1:80",
    "127.0.0.1",
    "10.0.0.1:4024",
    "",
  ];
  for (const host of foreign) {
    it(`refuses the name ${JSON.stringify(host)}, which an attacker may have pointed at this machine`, () => {
      assert.equal(status({ host }), 403);
    });
  }

  it("refuses a request without a name", () => assert.equal(status({}), 403));

  const origins: readonly (readonly [origin: string, expected: number])[] = [
    ["http://127.0.0.1:4024", 200],
    ["http://localhost:4024", 403], // another name than that of the request
    ["http://127.0.0.1:8000", 403], // another program of this machine
    ["https://127.0.0.1:4024", 403],
    ["http://evil.example", 403],
    ["null", 403],
  ];
  for (const [origin, expected] of origins) {
    it(`answers ${expected} to pages of the origin ${origin}`, () => {
      for (const method of ["GET", "POST"]) {
        assert.equal(status({ host: "127.0.0.1:4024", origin }, { method }), expected);
      }
    });
  }

  it("answers on port 80, which browsers leave out", () => {
    for (const host of ["127.0.0.1", "localhost", "[::1]", "127.0.0.1:80"]) {
      assert.equal(status({ host, origin: `http://${host}` }, { port: 80, method: "POST" }), 200, host);
    }
    for (const host of ["evil.example", "127.0.0.1:4024", "127.0.0.1.evil.example"]) {
      assert.equal(status({ host }, { port: 80 }), 403, host);
    }
  });

  it("refuses a POST of another site whose browser leaves the origin out", () => {
    const host = "127.0.0.1:4024";
    for (const site of ["cross-site", "same-site", "none"]) {
      assert.equal(status({ host, "sec-fetch-site": site }, { method: "POST" }), 403);
    }
    assert.equal(status({ host, "sec-fetch-site": "same-origin" }, { method: "POST" }), 200);
    assert.equal(status({ host }, { method: "POST" }), 200); // an app, or curl
  });

  it("wants the token in the path beyond this machine, and then answers by any name", () => {
    const host = "devbox.example.org:4024";
    assert.deepEqual(ask({ host }, { url: `/${TOKEN}/fragment?a=1`, token: TOKEN }), { path: "/fragment" });
    assert.deepEqual(ask({ host }, { url: `/${TOKEN}/`, token: TOKEN }), { path: "/" });
    for (const url of ["/", "/fragment", `/${TOKEN.slice(1)}/`, `/${TOKEN}0/`, "//", `/?${TOKEN}`, `/a/${TOKEN}/`]) {
      assert.equal(status({ host }, { url, token: TOKEN }), 404, url);
    }
    assert.equal(status({ host, origin: "http://evil.example" }, { url: `/${TOKEN}/run`, token: TOKEN }), 403);
  });
});
