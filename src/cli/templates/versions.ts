/** The versions that new projects ask for. A test compares them with the ones that this package is tested with. */

/** Version of this package. */
export const PACKAGE_VERSION = "0.1.0";
/** This package. */
export const PACKAGE_RANGE = `^${PACKAGE_VERSION}`;

/** Version of Deno in containers. */
export const DENO_VERSION = "2.9.6";
/** Major version of Node in containers. */
export const NODE_VERSION = "24";

/** Packages that projects import, by name. */
export const RANGES = {
  "@deno/kv": "^0.14.0",
  "@hono/node-server": "^2.1.8",
  "express": "^5.3.0",
  "fastify": "^5.12.8",
  "hono": "^4.13.19",
  "postgres": "^3.4.7",
  "redis": "^6.3.1",
} as const;

/** Packages that only the compiler reads. */
export const TYPE_RANGES = {
  "@types/express": "^5.0.0",
  "@types/node": "^24.0.0",
  "typescript": "^6.0.0",
} as const;
