/** Lint rules for what ships: the core knows no runtime, and takes time and randomness from its `AppRuntime`. */

const RUNTIME = new Set(["Deno", "process", "Buffer", "require", "__dirname", "__filename"]);
const MEMBERS = new Set(["performance.now", "Date.now", "Math.random", "crypto.randomUUID", "crypto.subtle"]);
const TIMERS = new Set([
  "setTimeout",
  "setInterval",
  "setImmediate",
  "clearTimeout",
  "clearInterval",
  "clearImmediate",
]);

/** Modules that may name a runtime. */
const RUNTIME_ALLOWED = /\/src\/(cli|testing)\/|\/src\/net\/runtime\.ts$/;
/** Modules that may use the system's time, timers, randomness or digests: the defaults of options and what implements them. */
const SYSTEM_ALLOWED =
  /\/src\/(cli|testing|storage)\/|\/src\/(async\/time|app\/settings|net\/runtime|logger|bitrix24\/parse)\.ts$/;

/** Files that ship, and the one module of them that may import by an expression. */
const SHIPPED = /\/(src|plugins)\//;
const COMPUTED_IMPORT_ALLOWED = /\/src\/cli\/load_module\.ts$/;

/** A node of the syntax tree, as far as the rules look at it. */
interface Named {
  readonly type: string;
  readonly name?: string;
  readonly computed?: boolean;
}

/** Whether an identifier refers to a global: not a key, a member or a property of a type. */
function isReference(node: Deno.lint.Identifier): boolean {
  const parent = node.parent as unknown as Named & { readonly property?: unknown; readonly key?: unknown };
  if (parent.type === "MemberExpression" && parent.property === node && parent.computed !== true) {
    const { object } = parent as unknown as { readonly object: Named };
    return object.type === "Identifier" && object.name === "globalThis";
  }
  if ((parent.type === "Property" || parent.type === "TSPropertySignature") && parent.key === node) return false;
  return true;
}

function inCore(file: string, allowed: RegExp): boolean {
  const path = file.replaceAll("\\", "/");
  return path.includes("/src/") && !allowed.test(path);
}

const plugin: Deno.lint.Plugin = {
  name: "core",
  rules: {
    "no-runtime": {
      create: (context) => {
        if (!inCore(context.filename, RUNTIME_ALLOWED)) return {};
        return {
          Identifier: (node) => {
            if (!RUNTIME.has(node.name) || !isReference(node)) return;
            context.report({ node, message: `names ${node.name}: the core knows no runtime` });
          },
          Literal: (node) => {
            if (typeof node.value !== "string" || !node.value.startsWith("node:")) return;
            context.report({ node, message: `names ${node.value}: the core knows no runtime` });
          },
        };
      },
    },
    "no-computed-import": {
      create: (context) => {
        const path = context.filename.replaceAll("\\", "/");
        if (!SHIPPED.test(path) || COMPUTED_IMPORT_ALLOWED.test(path)) return {};
        return {
          ImportExpression: (node) => {
            if (node.source.type === "Literal") return;
            context.report({ node, message: "imports by an expression, which publishers and bundlers cannot follow" });
          },
        };
      },
    },
    "no-system-time": {
      create: (context) => {
        if (!inCore(context.filename, SYSTEM_ALLOWED)) return {};
        const report = (node: Deno.lint.Node, name: string): void =>
          context.report({ node, message: `uses ${name}: take time, timers, random and digests from AppRuntime` });
        return {
          Identifier: (node) => {
            if (TIMERS.has(node.name) && isReference(node)) report(node, node.name);
          },
          MemberExpression: (node) => {
            const { object, property } = node as unknown as { readonly object: Named; readonly property: Named };
            const name = `${object.name}.${property.name}`;
            if (object.type === "Identifier" && MEMBERS.has(name)) report(node, name);
          },
        };
      },
    },
  },
};

export default plugin;
