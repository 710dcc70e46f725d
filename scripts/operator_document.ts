/**
 * Writes docs/operator-api.json, the OpenAPI document of the operator API, from the routes in `plugins/operator_api/`.
 *
 *     deno run -A scripts/operator_document.ts
 */
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { LINES_TYPE } from "../plugins/operator_api/lines.ts";
import { ROUTES } from "../plugins/operator_api/routes.ts";
import type { Route } from "../plugins/operator_api/route.ts";
import type { ObjectSchema, Schema } from "../plugins/operator_api/schema.ts";
import { NAMED_PORTAL } from "../plugins/operator_api/portal_shapes.ts";
import { ANSWERS, BODIES } from "./operator_examples.ts";
import { read } from "./run.ts";

/** Any part of the document. */
export type Json = { readonly [name: string]: unknown };

/** The notation of an object schema. */
interface Conversion {
  /** Collects the schemas that have a name. */
  readonly components: Record<string, Json>;
  /** Objects have no other members than theirs. Answers may get more of them later, so only for requests and tests. */
  readonly isClosed: boolean;
}

/** Returns a schema as JSON Schema. */
function schemaOf(schema: Schema, conversion: Conversion): Json {
  switch (schema.type) {
    case "any":
      return described(schema, {});
    case "array":
      return described(schema, { type: "array", items: schemaOf(schema.items, conversion) });
    case "object": {
      if ("values" in schema) {
        return described(schema, { type: "object", additionalProperties: schemaOf(schema.values, conversion) });
      }
      const { name } = schema;
      if (name === undefined) return objectOf(schema, conversion);
      conversion.components[name] ??= objectOf(schema, conversion);
      return { $ref: `#/components/schemas/${name}` };
    }
    default: {
      const { isRedacted: _r, wanted: _w, ...rest } = schema as Schema & {
        readonly isRedacted?: true;
        readonly wanted?: string;
      };
      return { ...rest };
    }
  }
}

function described({ description }: Pick<Schema, "description">, json: Json): Json {
  return { ...(description !== undefined && { description }), ...json };
}

function objectOf({ properties, required, isNullable, ...schema }: ObjectSchema, conversion: Conversion): Json {
  return {
    ...described(schema, { type: isNullable === true ? ["object", "null"] : "object" }),
    properties: Object.fromEntries(
      Object.entries(properties).map(([name, schema]) => [name, schemaOf(schema, conversion)]),
    ),
    ...(required.length > 0 && { required }),
    ...(conversion.isClosed && { additionalProperties: false }),
  };
}

/** The meanings of the statuses of errors, for the routes that can answer them. */
const ERRORS: readonly (readonly [status: number, description: string, applies: (route: Route) => boolean])[] = [
  [400, "A parameter or field is wrong: `issues` names each", (route) => takesParameters(route)],
  [401, "No known token came with the request", () => true],
  [403, "The role of the token does not allow this. Actions are recorded in the audit log", isOperate],
  [404, "No portal, batch operation or rollout is stored under this name", ({ path }) => path.includes("{")],
  [
    409,
    "The state of the portal does not allow this, several portals have had the domain (`portals`), or more portals match " +
    "than were expected (`matched`)",
    ({ path }) => path.includes("{portal}") || path.includes("{target}") || ["/batches", "/adopt"].includes(path),
  ],
  [408, "The body did not arrive within 10 seconds", isPost],
  [413, "The body is too large", isPost],
  [415, "The body is not JSON in UTF-8", isPost],
  [
    429,
    "The token has called this route too often in the last hour; `retry-after` says when it may again",
    ({ maxPerHour }) => maxPerHour !== undefined,
  ],
  [500, "The app, or a handler of the vendor, has failed: its log has the error", () => true],
  [502, "Bitrix24 did not answer", ({ id }) => ["checkPortal", "rehearsePortal"].includes(id)],
  [503, "The storage is down, or the app cannot be set up", () => true],
];

function takesParameters({ method, path, query }: Route): boolean {
  return method === "POST" || path.includes("{portal}") || Object.keys(query.properties).length > 0 || path === "/plan";
}

function isOperate({ role }: Route): boolean {
  return role === "operate";
}

function isPost({ method }: Route): boolean {
  return method === "POST";
}

const PATH_PARAMETERS: Readonly<Record<string, Json>> = {
  portal: {
    description: "The member_id of a portal, or its domain",
    schema: { type: "string", minLength: 1, maxLength: 260 },
    example: "a223c6b3710f85df22e9377d6c4f7553",
  },
  id: { description: "The id of a batch operation", schema: { type: "string", minLength: 1 } },
  target: {
    description: "The version that portals are to reach",
    schema: { type: "string", minLength: 1 },
    example: "3.0.0",
  },
};

function parametersOf({ path, query }: Route, conversion: Conversion): Json[] {
  const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = ""]) => ({
    ...{ name, in: "path", required: true, ...PATH_PARAMETERS[name] },
  }));
  const inQuery = Object.entries(query.properties).map(([name, schema]) => {
    const { description, ...rest } = schemaOf(schema, conversion);
    return {
      ...{ name, in: "query", required: query.required.includes(name) },
      ...(description !== undefined && { description }),
      schema: rest,
    };
  });
  return [...inPath, ...inQuery];
}

function answerOf(route: Route, conversion: Conversion): Json {
  const { answer, id } = route;
  const example = ANSWERS[id];
  if ("stream" in answer) {
    const content = Object.fromEntries(
      Object.values(answer.stream).map((type) => type.split(";")[0]!).map((type) => [type, {
        schema: { type: "string" },
        ...(type === LINES_TYPE && { "x-line": schemaOf(answer.item, conversion) }),
      }]),
    );
    return { description: "One item a line", content };
  }
  return {
    description: "Done",
    content: {
      "application/json": { schema: schemaOf(answer, conversion), ...(example !== undefined && { example }) },
    },
  };
}

function operationOf(route: Route, conversion: Conversion): Json {
  const { id, summary, role, body, status = 200 } = route;
  const parameters = parametersOf(route, conversion);
  const errors = ERRORS.filter(([, , applies]) => applies(route)).map(([code]) => [
    code,
    { $ref: `#/components/responses/${code}` },
  ]);
  const requests: Conversion = { ...conversion, isClosed: true };
  const example = BODIES[id];
  return {
    operationId: id,
    summary,
    description: `Requires the role \`${role}\`.`,
    ...(parameters.length > 0 && { parameters }),
    ...(route.method === "POST" && {
      requestBody: {
        required: route.lines !== undefined || body.required.length > 0,
        content: route.lines === undefined
          ? { "application/json": { schema: objectOf(body, requests), ...(example !== undefined && { example }) } }
          // OpenAPI 3.1 has no schema of lines.
          : { [LINES_TYPE]: { schema: { type: "string" }, "x-line": objectOf(route.lines, requests) } },
      },
    }),
    responses: { [status]: answerOf(route, conversion), ...Object.fromEntries(errors) },
  };
}

const ERROR: ObjectSchema = {
  type: "object",
  properties: {
    error: {
      type: "object",
      properties: {
        code: { type: "string", description: "The cause, for programs. It stays the same between versions" },
        message: { type: "string", description: "The cause, for people" },
        issues: {
          type: "array",
          items: {
            type: "object",
            properties: { path: { type: "string" }, saw: { type: "string" }, wanted: { type: "string" } },
            required: ["path", "saw", "wanted"],
          },
        },
        portals: { type: "array", items: NAMED_PORTAL },
        matched: { type: "integer" },
      },
      required: ["code", "message"],
    },
  },
  required: ["error"],
};

/** Options of {@linkcode operatorDocument}. */
export interface DocumentOptions {
  /** The schemas of answers refuse members that they do not name. */
  readonly isClosed?: boolean;
  /** Version of the package. */
  readonly version?: string;
}

/** Returns the document. */
export function operatorDocument({ isClosed = false, version = "0.0.0" }: DocumentOptions = {}): Json {
  const components: Record<string, Json> = {};
  const conversion: Conversion = { components, isClosed };
  components["Error"] = objectOf(ERROR, conversion);
  const paths: Record<string, Record<string, Json>> = {};
  for (const route of ROUTES) {
    (paths[`/api/v1${route.path}`] ??= {})[route.method.toLowerCase()] = operationOf(route, conversion);
  }
  return {
    openapi: "3.1.0",
    info: {
      title: "Operator API of @b24/onappupdate",
      version,
      description:
        "What `operatorApi()` serves. Times are in milliseconds since 1970 unless a field says otherwise. Answers " +
        "may get more fields in later versions.",
      license: { name: "MIT", identifier: "MIT" },
    },
    servers: [{ url: "https://ops.example", description: "Wherever the API is mounted" }],
    security: [{ token: [] }],
    paths,
    components: {
      responses: Object.fromEntries(
        ERRORS.map(([code, description]) => [
          code,
          { description, content: { "application/json": { schema: { $ref: "#/components/schemas/Error" } } } },
        ]),
      ),
      securitySchemes: { token: { type: "http", scheme: "bearer", description: "32 random bytes, as text" } },
      schemas: Object.fromEntries(Object.entries(components).sort(([a], [b]) => (a < b ? -1 : 1))),
    },
  };
}

/** The path of the document. */
export const DOCUMENT: string = fileURLToPath(new URL("../docs/operator-api.json", import.meta.url));

/** Returns the version in deno.json. */
export function packageVersion(): string {
  return JSON.parse(readFileSync(new URL("../deno.json", import.meta.url), "utf8")).version;
}

if (import.meta.main) {
  writeFileSync(DOCUMENT, JSON.stringify(operatorDocument({ version: packageVersion() }), null, 2));
  await read("deno", ["fmt", "-q", DOCUMENT]);
}
