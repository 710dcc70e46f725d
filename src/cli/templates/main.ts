/** `main.ts` of a new project: serves the app. */
import { type Choice, EVENTS_PATH, variable } from "./choice.ts";

/** Returns `main.ts`. */
export function mainFile(choice: Choice): string {
  const { runtime, framework } = choice;
  const source = runtime === "deno" ? DENO[framework === "hono" ? "hono" : "none"] : NODE[framework];
  const env = (name: string): string => variable(choice, name);
  const nodeProcess = runtime === "node" ? [`import process from "node:process";`] : [];
  const imports = [
    `import { health } from "@b24/onappupdate/health";`,
    `import { operatorApi } from "@b24/onappupdate/operator";`,
    ...source.imports,
    ...nodeProcess,
    `import app from "./app.ts";`,
  ];
  return `/** Serves the app. Bitrix24 posts events to ${EVENTS_PATH}. */
${imports.join("\n")}

${runtime === "deno" ? CRON : ""}await app.start();

// For "onappupdate status --url …": the digest that "onappupdate token" prints. Without it, there is no operator API.
const sha256 = ${env("OPERATOR_SHA256")};
const operator = sha256 ? operatorApi({ app, tokens: [{ name: "operator", role: "operate", sha256 }] }) : undefined;

// GET /healthz: the process is alive. GET /readyz: the app takes events. For load balancers and containers.
const probes = health(app${framework === "none" ? ", { next: app.fetch }" : ""});

const port = Number(${env("PORT")} || 8000);
const hostname = ${env("HOST")} || "127.0.0.1"; // "0.0.0.0" in a container

${source.code}`;
}

const CRON =
  `// Deno Deploy suspends programs that answer no request: this wakes the app. It must stand before Deno.serve().
Deno.cron("onappupdate", "* * * * *", async () => void await app.tick());

`;

interface MainSource {
  readonly imports: readonly string[];
  /** The code after the definitions of `app`, `operator`, `probes`, `port` and `hostname`. */
  readonly code: string;
}

const DENO_SHUTDOWN = `
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  Deno.addSignalListener(signal, async () => {
    await Promise.all([server.shutdown(), app.close()]);
    Deno.exit(0);
  });
}
`;

const ROUTE = `function isOperator(request: Request): boolean {
  return new URL(request.url).pathname.startsWith("/api/v1/");
}
`;

const HONO_SITE = `const site = new Hono();
site.get("/", (c) => c.text("The pages of the app"));
site.all("${EVENTS_PATH}", (c) => app.fetch(c.req.raw, c.env));
for (const path of ["/healthz", "/readyz"]) site.get(path, (c) => probes.fetch(c.req.raw));
if (operator) site.all("/api/v1/*", (c) => operator.fetch(c.req.raw));
`;

const DENO: Readonly<Record<"none" | "hono", MainSource>> = {
  none: {
    imports: [],
    code: `const server = Deno.serve({ port, hostname }, (request, info) => {
  if (operator && isOperator(request)) return operator.fetch(request);
  return probes.fetch(request, info);
});
${DENO_SHUTDOWN}
${ROUTE}`,
  },
  hono: {
    imports: [`import { Hono } from "hono";`],
    code: `${HONO_SITE}
const server = Deno.serve({ port, hostname }, site.fetch);
${DENO_SHUTDOWN}`,
  },
};

const serve = (fetch: string): string =>
  `// Stops at SIGINT and SIGTERM without losing a request, and closes the app.
const server = await serve({ fetch${fetch === "fetch" ? "" : `: ${fetch}`}, close: app.close }, { port, hostname });
console.log(\`listening on \${server.url}\`);
`;

const NODE_SHUTDOWN = (stop: string): string => `
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.once(signal, async () => {
    // Beside the server, which waits for every connection, also for one that sends nothing.
    ${stop};
    await app.close(); // waits for requests in flight
    setTimeout(() => process.exit(), 1000).unref();
  });
}
`;

const NODE: Readonly<Record<Choice["framework"], MainSource>> = {
  none: {
    imports: [`import { serve } from "@b24/onappupdate/node-server";`],
    code: `const fetch = async (request: Request, ...platform: unknown[]): Promise<Response> => {
  if (operator && isOperator(request)) return await operator.fetch(request);
  return await probes.fetch(request, ...platform);
};
${serve("fetch")}
${ROUTE}`,
  },
  hono: {
    imports: [`import { serve } from "@b24/onappupdate/node-server";`, `import { Hono } from "hono";`],
    code: `${HONO_SITE}
${serve("site.fetch")}`,
  },
  express: {
    imports: [`import { toNodeHandler } from "@b24/onappupdate/node-server";`, `import express from "express";`],
    code: `const site = express();
// Before any body parser: the app has limits of its own.
site.all("${EVENTS_PATH}", toNodeHandler(app));
site.all(["/healthz", "/readyz"], toNodeHandler(probes));
if (operator) site.all("/api/v1/{*path}", toNodeHandler(operator));
site.get("/", (_request, response) => void response.send("The pages of the app"));

const server = site.listen(port, hostname, (error) => {
  if (error) throw error; // such as a port that another program has
  console.log(\`listening on http://\${hostname}:\${port}\`);
});
${NODE_SHUTDOWN("server.close()")}`,
  },
  fastify: {
    imports: [`import { toNodeHandler } from "@b24/onappupdate/node-server";`, `import fastify from "fastify";`],
    code: `const site = fastify();
await site.register((routes, _options, done) => {
  // No body parsers on these routes: the app has limits of its own.
  routes.removeAllContentTypeParsers();
  routes.addContentTypeParser("*", (_request, _payload, done) => done(null));
  routes.all("${EVENTS_PATH}", toNodeHandler(app));
  for (const path of ["/healthz", "/readyz"]) routes.get(path, toNodeHandler(probes));
  if (operator) routes.all("/api/v1/*", toNodeHandler(operator));
  done();
});
site.get("/", () => "The pages of the app");

await site.listen({ port, host: hostname });
console.log(\`listening on http://\${hostname}:\${port}\`);
${NODE_SHUTDOWN("void site.close()")}`,
  },
};
