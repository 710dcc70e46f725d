// deno-lint-ignore-file no-console -- replaces it
/**
 * The examples of `docs/frameworks.md`, each run as its framework runs it: an app that they mount is installed on a fake portal
 * and updated. In each, something is put in front of the app that reads the body of one request, and the app names that.
 */
import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { fakeBitrix24 } from "@b24/onappupdate/testing";
import { read } from "../../scripts/run.ts";
import { root } from "../support/process.ts";
import { after, before, describe, it } from "../support/test.ts";
import { until } from "../support/until.ts";
import { type NodeProject, nodeProject } from "./_npm_project.ts";
import { blocks, type ServingModule, startProcess, startServing, write } from "./_snippets.ts";

const FORM = "application/x-www-form-urlencoded";
const ROUTE = "/b24/events";
/** Header of a request whose body is read before the app gets it. */
const READ = "x-read-before";

/** An app that runs, and what it prints. */
interface Mounted {
  readonly post: (body: string, headers?: Readonly<Record<string, string>>) => Promise<number>;
  readonly output: () => string;
  readonly stop: () => Promise<unknown>;
}

interface Example {
  readonly framework: string;
  /** The page, if it is another one. */
  readonly page?: string;
  /** The heading of the example. */
  readonly heading: string;
  /** A piece of the example, and what takes its place, so that bodies of requests with the header are read too early. */
  readonly reader: readonly [piece: string, replacement: string];
  readonly mount: (path: string) => Promise<Mounted>;
}

const folder = mkdtempSync(join(tmpdir(), "frameworks-"));
let project: NodeProject;
let inProject: string;
before(async () => {
  project = await nodeProject();
  // Packages are looked for in the folders above the module.
  inProject = mkdtempSync(join(project.folder, "frameworks-"));
});
after(() => {
  for (const one of [folder, inProject]) rmSync(one, { recursive: true, force: true });
  project.remove();
});

const onDeno = (route: string) => async (path: string): Promise<Mounted> => served(await startServing(path), route);
const onNode = async (path: string): Promise<Mounted> => served(await startServing(path, project.node), ROUTE);

async function onBun(path: string): Promise<Mounted> {
  const bun = await read("npx", ["-y", "--prefer-offline", "-p", "bun@1", "bun", "-p", "process.execPath"]);
  return served(await startProcess(bun, [path], path), "/");
}

function served({ url, output, stop }: ServingModule, route: string): Mounted {
  assert.ok(url !== undefined, output());
  const post: Mounted["post"] = async (body, headers = {}) => {
    const response = await fetch(new URL(route, url), {
      ...{ method: "POST", body, headers: { "content-type": FORM, ...headers } },
    });
    await response.body?.cancel();
    return response.status;
  };
  return { post, output, stop };
}

/** Calls what a module exports for its framework in this process, as the framework would. */
function called<Exports>(
  post: (exports: Exports, body: string, headers: Record<string, string>) => Promise<number>,
): Example["mount"] {
  return async (path) => {
    let output = "";
    const own = { log: console.log, info: console.info, warn: console.warn, error: console.error };
    for (const name of Object.keys(own) as (keyof typeof own)[]) console[name] = (line) => void (output += `${line}\n`);
    const exports = await import(pathToFileURL(path).href) as Exports;
    return {
      post: (body, headers = {}) => post(exports, body, { "content-type": FORM, ...headers }),
      output: () => output,
      stop: () => Promise.resolve(void Object.assign(console, own)),
    };
  };
}

const request = (body: string, headers: Record<string, string>): Request =>
  new Request(`https://app.example.com${ROUTE}`, { method: "POST", headers, body });

/** The Lambda runtime's part: an event of a function URL. */
async function invoke(handler: LambdaHandler, body: string, headers: Record<string, string>): Promise<number> {
  const { statusCode } = await handler({
    version: "2.0",
    rawPath: ROUTE,
    rawQueryString: "",
    headers: { ...headers, host: "app.example.com" },
    requestContext: { domainName: "app.example.com", http: { method: "POST", path: ROUTE } },
    isBase64Encoded: true,
    body: btoa(body),
  });
  return statusCode;
}
type LambdaHandler = (event: object) => Promise<{ readonly statusCode: number }>;
type Post<Argument> = (argument: Argument) => Promise<Response>;

const READ_REQUEST = `if (request.headers.has("${READ}")) await request.text();`;
const READ_HONO =
  `.use(async (c, next) => { if (c.req.header("${READ}") !== undefined) await c.req.text(); await next(); })`;
const READ_EXPRESS = `site.use((request, _response, next) =>
  request.headers["${READ}"] ? void request.resume().once("end", () => next()) : next());\n`;
const READ_NODE = (incoming: string): string =>
  `if (${incoming}.headers["${READ}"]) for await (const _ of ${incoming});`;
const MOUNT_EXPRESS = `site.use("${ROUTE}", toNodeHandler(app))`;

const EXAMPLES: readonly Example[] = [
  {
    framework: "Deno",
    heading: "Deno",
    reader: ["app.fetch);", `async (request) => { ${READ_REQUEST} return await app.fetch(request); });`],
    mount: onDeno("/"),
  },
  {
    framework: "Deno Deploy",
    page: "docs/deno-deploy.md",
    heading: "The program",
    reader: ["(app.fetch);", `(async (request) => { ${READ_REQUEST} return await app.fetch(request); });`],
    mount: onDeno("/"),
  },
  {
    framework: "Bun",
    heading: "Bun",
    reader: [
      "port: 8000, fetch: app.fetch",
      `port: 0, fetch: async (request: Request) => { ${READ_REQUEST} return await app.fetch(request); }`,
    ],
    mount: onBun,
  },
  {
    framework: "Hono",
    heading: "Hono",
    reader: ["new Hono()", `new Hono()${READ_HONO}`],
    mount: onDeno(ROUTE),
  },
  {
    framework: "a route handler of Next",
    heading: "Next",
    reader: ["=> app.fetch(request)", `=> (async () => { ${READ_REQUEST} return await app.fetch(request); })()`],
    mount: called<{ POST: Post<Request>; runtime: string }>(async ({ POST, runtime }, body, headers) => {
      assert.equal(runtime, "nodejs");
      return (await POST(request(body, headers))).status;
    }),
  },
  {
    framework: "SvelteKit",
    heading: "SvelteKit",
    reader: ["=> app.fetch(request)", `=> (async () => { ${READ_REQUEST} return await app.fetch(request); })()`],
    mount: called<{ POST: Post<{ readonly request: Request }> }>(async ({ POST }, body, headers) =>
      (await POST({ request: request(body, headers) })).status
    ),
  },
  {
    framework: "AWS Lambda through Hono",
    heading: "AWS Lambda",
    reader: ["new Hono()", `new Hono()${READ_HONO}`],
    mount: called<{ handler: LambdaHandler; tick: () => Promise<void> }>(async ({ handler, tick }, body, headers) => {
      const status = await invoke(handler, body, headers);
      await tick();
      return status;
    }),
  },
  {
    framework: "Express",
    heading: "Express",
    reader: [MOUNT_EXPRESS, READ_EXPRESS + MOUNT_EXPRESS],
    mount: onNode,
  },
  {
    framework: "Nest",
    heading: "Nest",
    reader: [MOUNT_EXPRESS, READ_EXPRESS + MOUNT_EXPRESS],
    mount: onNode,
  },
  {
    framework: "Fastify",
    heading: "Fastify",
    reader: [
      "fastify();",
      `fastify();\nsite.addHook("onRequest", async (request) => { ${READ_NODE("request.raw")} });`,
    ],
    mount: onNode,
  },
  {
    framework: "Koa",
    heading: "Koa",
    reader: ["new Koa()", `new Koa().use(async (context, next) => { ${READ_NODE("context.req")} await next(); })`],
    mount: onNode,
  },
];

/** Returns the first program below a heading. */
function block({ page = "docs/frameworks.md", heading }: Example): ReturnType<typeof blocks>[number] {
  const [, section = ""] = readFileSync(join(root, page), "utf8").split(new RegExp(`^##+ ${heading}\n`, "m"));
  const [found] = blocks(section, `${page.replaceAll("/", "_")}_${heading}`);
  assert.ok(found !== undefined, heading);
  return found;
}

/** Writes an example as a module that calls the fake Bitrix24 at `dev`, and returns its path. */
function module(example: Example, dev: string): string {
  const snippet = block(example);
  const replacements: readonly (readonly [piece: string | RegExp, replacement: string])[] = [
    example.reader,
    [`"…"`, `"…", dev: "${dev}"`],
  ];
  let code = snippet.code;
  for (const [piece, replacement] of replacements) {
    assert.equal(code.split(piece).length, 2, `${example.heading} has ${piece} once`);
    code = code.replace(piece, () => replacement);
  }
  code = code
    // The database of the tests takes the place of the server.
    .replace(/^import postgres .*$|^const sql = .*$/gm, "")
    .replace(/^import \{ postgresStorage \}.*$/m, `import { memoryStorage } from "@b24/onappupdate";`)
    .replace("postgresStorage(sql)", "memoryStorage()")
    .replace("Deno.openKv()", `Deno.openKv(":memory:")`);
  const isForNode = example.mount === onNode || example.mount === onBun;
  return write({ ...snippet, code }, isForNode ? inProject : folder, 6379);
}

describe("docs/frameworks.md", () => {
  for (const example of EXAMPLES) {
    it(`${example.framework}: the app is updated, and a body that was read before it is named`, async () => {
      const bitrix24 = fakeBitrix24({ clientId: "app.5f3a2b1c" });
      const server = await bitrix24.serve();
      const { post, output, stop } = await example.mount(module(example, server.url));
      try {
        const portal = bitrix24.portal({ memberId: "a223c6b3710f85df22e9377d6c4f7553" });
        const checks = (): number => bitrix24.calls().filter(({ method }) => method === "app.info").length;
        assert.equal(await post("event="), 400);
        assert.equal(await post(portal.install(1)), 200);
        await until("the verification of the installation", () => checks() > 0);
        const update = portal.update(2);
        // Bitrix24 would not repeat it.
        assert.equal(await post(update, { [READ]: "1" }), 503);
        assert.match(output(), /"level":"error".*it was read before it was passed to the app, and not kept/);
        assert.equal(await post(update), 200);
        await until(() => `the update\n${output()}`, () => /"to":"2\.0\.0"/.test(output()));
      } finally {
        await stop();
        await server.close();
      }
    });
  }
});
