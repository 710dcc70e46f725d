/** The set-up of the OpenTelemetry SDK on Node in docs/telemetry.md: its packages, and the name of the service. */
import assert from "node:assert/strict";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { run } from "../../scripts/run.ts";
import { root } from "../support/process.ts";
import { describe, it } from "../support/test.ts";

const [, section = ""] = readFileSync(join(root, "docs/telemetry.md"), "utf8").split("\n## Node\n");

describe("the Node SDK of docs/telemetry.md", () => {
  it("is installed in the versions that are tested here, which npm accepts together", () => {
    const { imports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as {
      imports: Readonly<Record<string, string>>;
    };
    const [, command = ""] = /```sh\n(npm install [\s\S]*?)\n```/.exec(section)!;
    const installed = [...command.matchAll(/(@opentelemetry\/[a-z-]+)@([0-9.]+)/g)].map(([, name, version]) =>
      [name!, version!] as const
    );
    const imported = [...section.split("\n```\n")[1]!.matchAll(/from "(@opentelemetry\/[^"]+)"/g)].map(([, name]) =>
      name!
    );
    assert.deepEqual(imported.filter((name) => !installed.some(([other]) => other === name)), []);
    for (const [name, version] of installed) {
      const [, wanted = ""] = /@[~^]([0-9.]+)$/.exec(imports[name]!)!;
      assert.ok(wanted.startsWith(`${version}.`), `${name}: ${version} in the docs, ${wanted} in deno.json`);
    }
  });

  it("names the service by OTEL_SERVICE_NAME", async () => {
    const folder = mkdtempSync(join(tmpdir(), "onappupdate-otel-"));
    const bodies: string[] = [];
    const collector = createServer(async (request, response) => {
      request.setEncoding("utf8");
      for await (const text of request) bodies.push(text);
      response.setHeader("content-type", "application/json").end("{}");
    }).listen(0, "127.0.0.1");
    try {
      await once(collector, "listening");
      const [, code = ""] = /```ts\n([\s\S]*?)```/.exec(section)!;
      const file = join(folder, "set_up.ts");
      const flush = `traces.getTracer("test").startSpan("test").end();\nawait traces.forceFlush();\nprocess.exit(0);\n`;
      writeFileSync(file, `import process from "node:process";\n${code}${flush}`);
      const { port } = collector.address() as AddressInfo;
      const env = {
        OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
        OTEL_SERVICE_NAME: "my-service",
      };
      await run("deno", ["run", "-A", "--no-check", "--config", join(root, "deno.json"), file], { cwd: folder, env });
      assert.match(bodies.join(""), /"service\.name","value":\{"stringValue":"my-service"\}/);
    } finally {
      collector.close();
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
