/** Files around the code of a new project: environment, container, what git ignores, README. */
import { type Choice, EVENTS_PATH } from "./choice.ts";
import { packagesOf, permissionsOf, standInOf } from "./manifest.ts";
import { DENO_VERSION, NODE_VERSION } from "./versions.ts";

/** Variables of each storage: what they are, and a value for development. */
const STORAGE_VARIABLES: Readonly<Record<Choice["storage"], (choice: Choice) => readonly string[]>> = {
  memory: () => [],
  file: () => ["# The file of the storage.", "DATABASE=portals.db"],
  kv: ({ runtime }) => [
    runtime === "deno"
      ? "# The file of the storage. Not to be set on Deno Deploy, which has a database."
      : "# The file of the storage.",
    "KV_PATH=portals.kv",
  ],
  redis: () => ["REDIS_URL=redis://127.0.0.1:6379"],
  postgres: () => ["DATABASE_URL=postgres://postgres@127.0.0.1:5432/postgres"],
};

/** Returns `.env`, for development with the stand-in. It has no secret. */
export function envFile(choice: Choice): string {
  return lines(
    "# For development with the stand-in for Bitrix24. Not for production, and not in git.",
    "ONAPPUPDATE_DEV=http://127.0.0.1:4024",
    "CLIENT_ID=app.dev",
    "CLIENT_SECRET=dev-secret",
    ...STORAGE_VARIABLES[choice.storage](choice),
  );
}

/**
 * Returns `.env.example`, which lists what production needs. What the `Dockerfile` sets is a comment: as an `--env-file` of a
 * container, this file would replace it.
 */
export function envExampleFile(choice: Choice): string {
  return lines(
    "# From the vendor's cabinet of Bitrix24, or from the page of a local app.",
    "CLIENT_ID=",
    "CLIENT_SECRET=",
    ...STORAGE_VARIABLES[choice.storage](choice).map((line) => line.replace(/^(?=DATABASE=|KV_PATH=)/, "# ")),
    "# Encrypts the tokens of portals in the storage: openssl rand -base64 32",
    "STORAGE_KEY=",
    "# Digest of the token for the operator API, as onappupdate token operator --role operate prints it. Empty: no API.",
    "OPERATOR_SHA256=",
    "PORT=8000",
    "# The address to listen on: 127.0.0.1 by default, 0.0.0.0 in the container.",
    "# HOST=127.0.0.1",
    "# Only for development: the address that onappupdate dev prints.",
    "# ONAPPUPDATE_DEV=http://127.0.0.1:4024",
  );
}

const IGNORED = ["node_modules/", ".env", ".token", "*.db", "*.db-*", "*.kv", "*.kv-*", "portals.json"];

/** Returns `.gitignore`. */
export function ignoreFile(): string {
  return lines(...IGNORED);
}

/** Returns `.dockerignore`. */
export function dockerIgnoreFile(): string {
  return lines(...IGNORED, ".git/", "*.test.ts");
}

/** Returns a program that fails unless the app answers: the images have no curl. It has no double quotes. */
function healthProgram(port: string, exit: string): string {
  return `fetch('http://127.0.0.1:' + (${port} || 8000) + '/healthz').then((r) => ${exit}(r.ok ? 0 : 1), () => ${exit}(1))`;
}

function healthCheck(command: string): string[] {
  return ["# Not /readyz: to restart the container would not bring its storage back.", `HEALTHCHECK CMD ${command}`];
}

/** Returns `Dockerfile`. */
export function dockerFile(choice: Choice): string {
  const volume = choice.storage === "file" || choice.storage === "kv"
    ? [
      "# The storage is a file: mount a volume at /data, or the portals are lost with the container.",
      `ENV ${choice.storage === "kv" ? "KV_PATH=/data/portals.kv" : "DATABASE=/data/portals.db"}`,
      "VOLUME /data",
    ]
    : [];
  if (choice.runtime === "node") {
    return lines(
      `FROM node:${NODE_VERSION}-slim`,
      "WORKDIR /app",
      "COPY package*.json ./",
      "RUN npm install --omit=dev --no-audit --no-fund",
      "COPY *.ts ./",
      ...(volume.length > 0 ? ["RUN mkdir /data && chown node /data"] : []),
      "ENV HOST=0.0.0.0 NODE_ENV=production",
      ...volume,
      "EXPOSE 8000",
      ...healthCheck(`["node", "-e", "${healthProgram("process.env.PORT", "process.exit")}"]`),
      "USER node",
      `CMD ["node", "main.ts"]`,
    );
  }
  const permissions = permissionsOf(choice).map((flag) => flag.replace(/=\.$/, "=/app,/data"));
  const command = ["run", "--cached-only", ...permissions, "main.ts"].map((part) => `"${part}"`).join(", ");
  return lines(
    `FROM denoland/deno:${DENO_VERSION}`,
    "WORKDIR /app",
    "COPY deno.* *.ts ./",
    "RUN deno install --entrypoint main.ts",
    ...(volume.length > 0 ? ["RUN mkdir /data && chown deno /data"] : []),
    "ENV HOST=0.0.0.0",
    ...volume,
    "EXPOSE 8000",
    ...healthCheck(`["deno", "eval", "${healthProgram("Deno.env.get('PORT')", "Deno.exit")}"]`),
    "USER deno",
    `CMD [${command}]`,
  );
}

const STORAGE_NOTES: Readonly<Record<Choice["storage"], string>> = {
  memory:
    "Portals are in memory: they are forgotten when the process ends. Choose another storage before you install\n" +
    "the app on a portal.",
  file: "Portals are in one SQLite file, `portals.db`, on this host. Several processes of one host can share it.",
  kv: "Portals are in Deno KV: the file `portals.kv`, or the database of Deno Deploy.",
  redis: "Portals are in Redis (`REDIS_URL`), under a prefix of this app.",
  postgres: "Portals are in PostgreSQL (`DATABASE_URL`), in a table that the app creates.",
};

/** The server that an app needs during development, by the arguments of `docker run`. */
const STORAGE_SERVERS: Readonly<Partial<Record<Choice["storage"], string>>> = {
  redis: "-p 6379:6379 redis",
  postgres: "-p 5432:5432 -e POSTGRES_HOST_AUTH_METHOD=trust postgres",
};

/** Returns `README.md`. */
export function readmeFile(choice: Choice): string {
  const isDeno = choice.runtime === "deno";
  const task = (name: string): string =>
    isDeno ? `deno task ${name}` : name === "test" ? "npm test" : `npm run ${name}`;
  const cli = isDeno ? "deno task onappupdate" : "npm run --silent onappupdate --";
  const isMemory = choice.storage === "memory";
  const packages = packagesOf(choice);
  const server = STORAGE_SERVERS[choice.storage];
  return `# ${choice.name}

A Bitrix24 app with [@b24/onappupdate](https://jsr.io/@b24/onappupdate): it verifies events, stores them before it
answers, and brings each portal to the next version by the upgrades in \`upgrades.ts\`.

- \`upgrades.ts\`: what the app does: upgrades, handlers of events. \`upgrades.test.ts\` has its tests, with a fake Bitrix24.
- \`app.ts\`: the app with its storage and keys. The command line loads it.
- \`main.ts\`: serves it${choice.framework === "none" ? "" : ` with ${choice.framework}`}.
- \`.env\`: the environment for development. \`.env.example\` lists what production needs.

## Try it, without a portal

${server === undefined ? "" : `First: \`docker run ${server}\`, or another server in \`.env\`.\n\n`}${
    isDeno ? "" : "Run `npm install` once. "
  }In one terminal, start the app; in another one, a stand-in for Bitrix24:

\`\`\`sh
${task("dev")}
${task("bitrix24")}
\`\`\`

In the second one, press \`i\` to install the app, then \`u\` for an update: it shows what the app answers and which calls
it makes, here and on the page http://127.0.0.1:4024.${
    isMemory
      ? ""
      : "\nIt keeps its portals in `portals.json`. To begin again, delete that file and what the storage has."
  }

If port 8000 is taken, set \`PORT\` in \`.env\`, and start the stand-in with
\`${cli} ${standInOf(choice, "PORT")}\`.

## Test it

\`\`\`sh
${task("test")}
${task("check")}
\`\`\`

## See its portals

${
    isMemory
      ? `The storage belongs to the process of the app, so ask its operator API. Make a token, put its digest into \`.env\` as
\`OPERATOR_SHA256\`, start the app again, and put the token into the file \`.token\`:

\`\`\`sh
${cli} token operator --role operate
${cli} status --url http://127.0.0.1:8000 --token-file .token
\`\`\``
      : `\`\`\`sh
${cli} status --app ./app.ts
${cli} portals --app ./app.ts
\`\`\`

For an app on another host, use its operator API: \`onappupdate token operator --role operate\` prints a token, and the
digest that is \`OPERATOR_SHA256\` there. Then: \`status --url https://… --token-file FILE\`.`
  }

## Run it in production

${STORAGE_NOTES[choice.storage]}

1. Set what \`.env.example\` lists. Leave \`ONAPPUPDATE_DEV\` out.
2. ${
    isDeno && choice.storage !== "file"
      ? "On Deno Deploy, the entry point is `main.ts`, which also has the cron job that the app needs there. Elsewhere, use\n   the"
      : "Use the"
  } container: \`docker build -t ${choice.name} .\`, then
   \`docker run --env-file production.env -p 8000:8000${
    choice.storage === "file" || choice.storage === "kv" ? " -v data:/data" : ""
  } ${choice.name}\`.
3. Put HTTPS in front of it, and register \`https://YOUR-HOST${EVENTS_PATH}\` with Bitrix24 as the handler of ONAPPINSTALL,
   ONAPPUPDATE and ONAPPUNINSTALL. Load balancers can ask \`/readyz\`.
${packages.length === 0 ? "" : `\nBesides @b24/onappupdate, it uses ${packages.join(", ")}.\n`}`;
}

function lines(...all: string[]): string {
  return `${all.join("\n")}\n`;
}
