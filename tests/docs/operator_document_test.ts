import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { Ajv2020, type ErrorObject } from "ajv/dist/2020.js";
import { DOCUMENT, type Json, operatorDocument, packageVersion } from "../../scripts/operator_document.ts";
import { ROUTES } from "../../plugins/operator_api/routes.ts";
import { describe, it } from "../support/test.ts";

interface Content {
  readonly "application/json": { readonly schema: Json; readonly example?: unknown };
}

interface Operation {
  readonly operationId: string;
  readonly parameters?: readonly { readonly name: string; readonly in: string; readonly schema: Json }[];
  readonly requestBody?: { readonly content: Content };
  readonly responses: Readonly<Record<string, { readonly content: Content & Record<string, unknown> }>>;
}

type Document = { readonly paths: Readonly<Record<string, Readonly<Record<string, Operation>>>> } & Json;

const stored = JSON.parse(readFileSync(DOCUMENT, "utf8")) as Document;
const closed = operatorDocument({ isClosed: true }) as unknown as Document;

const ajv = new Ajv2020({ strict: false });
ajv.addSchema(closed, "closed");

/** Returns what is wrong with a value by a schema of the document whose objects are closed. */
function problems(pointer: string, value: unknown): readonly ErrorObject[] {
  const validate = ajv.compile({ $ref: `closed#${pointer}` });
  return validate(value) ? [] : validate.errors ?? [];
}

function pointerOf(...parts: readonly string[]): string {
  return parts.map((part) => `/${encodeURIComponent(part.replaceAll("~", "~0").replaceAll("/", "~1"))}`).join("");
}

describe("docs/operator-api.json", () => {
  it("is what the routes say: run scripts/operator_document.ts", () => {
    assert.deepEqual(stored, JSON.parse(JSON.stringify(operatorDocument({ version: packageVersion() }))));
  });

  it("has each route once, and no other", () => {
    const described = Object.entries(stored.paths).flatMap(([path, operations]) =>
      Object.keys(operations).map((method) => `${method.toUpperCase()} ${path}`)
    );
    assert.deepEqual(described, ROUTES.map(({ method, path }) => `${method} /api/v1${path}`));
    const ids = ROUTES.map(({ id }) => id);
    assert.equal(new Set(ids).size, ids.length, "operationIds are unique");
  });

  for (const [path, operations] of Object.entries(closed.paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      it(`has examples of ${method.toUpperCase()} ${path} that are valid`, () => {
        const [status = "", response] = Object.entries(operation.responses).find(([code]) => code.startsWith("2"))!;
        const schema = (...parts: readonly string[]): string => pointerOf("paths", path, method, ...parts);
        const answer = response!.content["application/json"];
        // Streams have none.
        if (answer !== undefined) {
          assert.ok(answer.example !== undefined, `no example of an answer`);
          const at = schema("responses", status, "content", "application/json", "schema");
          assert.deepEqual(problems(at, answer.example), []);
          assert.notDeepEqual(problems(at, { unknown: 1, ...(answer.example as object) }), []);
        }
        if (operation.requestBody === undefined) return;
        const at = schema("requestBody", "content", "application/json", "schema");
        // Lines have none.
        if (operation.requestBody.content["application/json"] === undefined) return;
        const { example } = operation.requestBody.content["application/json"];
        assert.ok(example !== undefined, "no example of a body");
        assert.deepEqual(problems(at, example), []);
        assert.notDeepEqual(problems(at, { ...example as object, by: "ada" }), [], "`by` is refused");
      });
    }
  }
});
