import assert from "node:assert/strict";
import process from "node:process";
import { type App, type AppOptions, createApp, memoryStorage } from "@b24/onappupdate";
import { applicationToken } from "@b24/onappupdate/application-token";
import { rest } from "@b24/onappupdate/rest";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { assertDevelopment } from "../../../src/app/startup_warnings.ts";
import type { RuntimeEnvironment } from "../../../src/net/runtime.ts";
import { CLIENT_ID, MEMBER_ID, post, quietLogger, recordingLogger } from "../../support/app.ts";
import { describe, it } from "../../support/test.ts";

const DEV = "http://127.0.0.1:4024";

const create = (options: Partial<AppOptions>): App =>
  createApp({ storage: memoryStorage(), clientId: CLIENT_ID, logger: quietLogger, checks: false, ...options });

function environment(variables: Readonly<Record<string, string>>): RuntimeEnvironment {
  return {
    variable: (name) => variables[name],
    isWorker: false,
    isCloudflareWorker: false,
    mayConnect: () => true,
    permissions: () => undefined,
  };
}

/** Calls `run` while `globalThis.fetch` is replaced. */
async function withFetch(fetch: typeof globalThis.fetch, run: () => Promise<void>): Promise<void> {
  const own = globalThis.fetch;
  globalThis.fetch = fetch;
  try {
    await run();
  } finally {
    globalThis.fetch = own;
  }
}

describe("createApp({ dev })", () => {
  for (const dev of ["https://oauth.bitrix.info", "http://10.0.0.7:4024", "http://dev.example:4024", "", 4024]) {
    it(`refuses ${JSON.stringify(dev)}: only this machine may stand in for Bitrix24`, () => {
      assert.throws(() => create({ dev: dev as string }), {
        name: "TypeError",
        message: /^cannot create an app with dev .+, wanted the address that "onappupdate dev" prints/,
      });
    });
  }

  it("refuses fetch besides, which would decide as well", () => {
    assert.throws(() => create({ dev: DEV, fetch }), /^TypeError: cannot create an app with both dev and fetch/);
  });

  it("is the same as no option if it is undefined", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID });
    const { logger, lines } = recordingLogger();
    const app = create({ dev: undefined, fetch: bitrix24.fetch, acknowledge: "handled", logger })
      .use(applicationToken());
    assert.equal((await app.fetch(post(portal.install(1)))).status, 200);
    assert.equal((await app.portal(MEMBER_ID))?.version, "1.0.0");
    assert.equal(lines.some((line) => line.includes("dev.enabled")), false);
    await app.close();
  });

  it("asks the stand-in about tokens and calls portals there, whatever their host is", async () => {
    const bitrix24 = fakeBitrix24({ clientId: CLIENT_ID });
    const portal = bitrix24.portal({ memberId: MEMBER_ID, domain: "portal1.example.com" });
    const targets: string[] = [];
    const standIn = async (input: Request | URL | string, init?: RequestInit): Promise<Response> => {
      const request = new Request(input, init);
      targets.push(request.url);
      const address = request.headers.get("x-fake-bitrix24-address");
      assert.ok(address !== null, `a request for ${request.url} was not routed`);
      return await bitrix24.fetch(new Request(address, request));
    };
    await withFetch(standIn as typeof fetch, async () => {
      const names: unknown[] = [];
      const app = create({ dev: DEV, acknowledge: "handled" }).use(applicationToken()).use(rest())
        .upgrade("2", async ({ b24 }) => void names.push((await b24.call<{ NAME: string }>("profile")).NAME));
      assert.equal((await app.fetch(post(portal.install(1)))).status, 200);
      assert.equal((await app.fetch(post(portal.update(2)))).status, 200);
      assert.equal((await app.portal(MEMBER_ID))?.version, "2.0.0");
      assert.deepEqual(names, ["Ada"]);
      await app.close();
    });
    assert.deepEqual([...new Set(targets)], [`${DEV}/`]);
  });

  it("warns at every start", async () => {
    for (let start = 0; start < 2; start++) {
      const { logger, lines } = recordingLogger();
      const app = create({ dev: DEV, logger, tickEveryMs: false }).use(applicationToken());
      await app.start();
      const warning = lines.map((line) => JSON.parse(line)).find(({ event }) => event === "dev.enabled");
      assert.equal(warning?.level, "warn");
      assert.equal(warning?.standIn, DEV);
      await app.close();
    }
  });

  it("is refused where the environment says so", () => {
    process.env["FLY_APP_NAME"] = "rating";
    try {
      assert.throws(() => create({ dev: DEV }), /^TypeError: cannot create an app with the option dev on Fly\.io/);
      create({});
    } finally {
      delete process.env["FLY_APP_NAME"];
    }
  });
});

describe("assertDevelopment()", () => {
  const refused: readonly (readonly [variables: Readonly<Record<string, string>>, where: RegExp])[] = [
    [{ DENO_DEPLOYMENT_ID: "k2x9" }, /dev on Deno Deploy/],
    [{ AWS_LAMBDA_FUNCTION_NAME: "b24" }, /dev on AWS Lambda/],
    [{ K_SERVICE: "b24" }, /dev on Cloud Run/],
    [{ DYNO: "web.1" }, /dev on Heroku/],
    [{ KUBERNETES_SERVICE_HOST: "10.0.0.1" }, /dev on Kubernetes/],
    [{ VERCEL: "1" }, /dev on Vercel/],
    [{ RENDER: "true", NODE_ENV: "production" }, /dev on Render/],
    [{ NODE_ENV: "production" }, /dev with NODE_ENV production/],
  ];
  for (const [variables, where] of refused) {
    it(`throws with ${Object.keys(variables).join(" and ")}`, () => {
      assert.throws(() => assertDevelopment(environment(variables)), where);
    });
  }

  it("allows a developer's machine", () => {
    assertDevelopment(environment({}));
    assertDevelopment(environment({ NODE_ENV: "development", DYNO: "" }));
  });
});
