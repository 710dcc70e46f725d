import assert from "node:assert/strict";
import { type AppOptions, createApp, memoryStorage } from "@b24/onappupdate";
import { connectionAddress, createAddressReader } from "../../../src/intake/client_address.ts";
import { post, quietLogger, recordingLogger, rig } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const PLATFORMS: Readonly<Record<string, readonly unknown[]>> = {
  "Deno.serve": [{ remoteAddr: { transport: "tcp", hostname: "192.0.2.7", port: 5 } }],
  "@hono/node-server": [{ incoming: { socket: { remoteAddress: "192.0.2.7" } }, outgoing: {} }],
  "a host that passes more": [undefined, { waitUntil: () => {} }, { remoteAddr: { hostname: "192.0.2.7" } }],
};

function requestWith(headers: Record<string, string>): Request {
  return new Request("https://app.example/", { headers });
}

describe("connectionAddress()", () => {
  for (const [name, platform] of Object.entries(PLATFORMS)) {
    it(`reads what ${name} passes`, () => assert.equal(connectionAddress(requestWith({}), platform), "192.0.2.7"));
  }

  it("knows no address of a Unix socket, a closed connection, or a host that passes none", () => {
    const unix = { remoteAddr: { transport: "unix", path: "/run/app.sock" } };
    for (const platform of [[], [null], [unix], [{ incoming: { socket: {} } }]]) {
      assert.equal(connectionAddress(requestWith({}), platform), undefined);
    }
  });

  it("reads no header, which any client can send", () => {
    const headers = { "x-forwarded-for": "192.0.2.7", "x-real-ip": "192.0.2.7", forwarded: "for=192.0.2.7" };
    assert.equal(connectionAddress(requestWith(headers), []), undefined);
  });
});

describe("createAddressReader()", () => {
  it("logs an error, and goes on without an address", () => {
    const { logger, lines } = recordingLogger();
    const info = {
      get remoteAddr(): never {
        throw new TypeError("request closed");
      },
    };
    assert.equal(createAddressReader(connectionAddress, logger)(requestWith({}), [info]), undefined);
    assert.deepEqual(lines.map((line) => JSON.parse(line).event), ["client_address.failed"]);
  });
});

describe("ctx.clientAddress", () => {
  async function seen(
    request: Request,
    platform: readonly unknown[],
    options: Partial<AppOptions> = {},
  ): Promise<(string | undefined)[]> {
    const addresses: (string | undefined)[] = [];
    const app = createApp({ storage: memoryStorage(), logger: quietLogger, ...options }).use({
      name: "spy",
      phase: "verify",
      around: async ({ clientAddress }, next) => {
        addresses.push(clientAddress);
        await next();
      },
    });
    assert.equal((await app.fetch(request, ...platform)).status, 200);
    await app.close();
    return addresses;
  }
  const install = (): string => rig().portal.install(2);

  it("is the address of the connection, with an IPv4 address as such", async () => {
    const platform = [{ remoteAddr: { hostname: "::ffff:192.0.2.7" } }];
    assert.deepEqual(await seen(post(install()), platform), ["192.0.2.7"]);
  });

  it("is what the option clientAddress returns", async () => {
    const request = post(install());
    request.headers.set("x-real-ip", "192.0.2.9");
    const platform = [{ remoteAddr: { hostname: "10.0.0.1" } }];
    const clientAddress: AppOptions["clientAddress"] = ({ headers }) => headers.get("x-real-ip") ?? undefined;
    assert.deepEqual(await seen(request, platform, { clientAddress }), ["192.0.2.9"]);
  });

  it("is absent if the option throws or returns no address: no event is refused for that", async () => {
    for (const clientAddress of [() => "unknown", () => undefined, () => assert.fail("broken")]) {
      assert.deepEqual(await seen(post(install()), [], { clientAddress }), [undefined]);
    }
  });
});
