/** The storage, the logger and the `fetch` of an app, as its tracer sees them. */
import { defined } from "../defined.ts";
import type { LogFields, Logger } from "../logger.ts";
import { redactError } from "../redact.ts";
import type { Entry, ListOptions, Storage } from "../storage/storage.ts";
import type { Tracer } from "./tracer.ts";
import type { StorageReport, TracedWork } from "./tracing.ts";

type Operation = StorageReport["operation"];

/** Returns a storage that reports its operations. `now`: milliseconds since an arbitrary point. */
export function tracedStorage(storage: Storage, tracer: Tracer, now: () => number): Storage {
  const { write, close } = storage;

  async function timed<T>(
    report: (report: StorageReport) => void,
    operation: Operation,
    call: () => Promise<T>,
  ): Promise<T> {
    const startedAt = now();
    try {
      const result = await call();
      report({ operation, ms: now() - startedAt });
      return result;
    } catch (error) {
      report({ operation, ms: now() - startedAt, error: redactError(error, []) });
      throw error;
    }
  }

  function reported<T>(operation: Operation, call: () => Promise<T>): Promise<T> {
    const report = tracer.storageCalled();
    return report === undefined ? call() : timed(report, operation, call);
  }

  async function* list<T>(
    report: (report: StorageReport) => void,
    prefix: readonly string[],
    options?: ListOptions,
  ): AsyncGenerator<Entry<T>> {
    // Without the time that the caller takes between two entries.
    let ms = 0;
    const entries = storage.list<T>(prefix, options)[Symbol.asyncIterator]();
    const timedReport = (one: StorageReport): void => void (ms += one.ms);
    try {
      while (true) {
        const next = await timed(timedReport, "list", () => entries.next());
        if (next.done) break;
        yield next.value;
      }
      report({ operation: "list", ms });
    } catch (error) {
      report({ operation: "list", ms, error: redactError(error, []) });
      throw error;
    } finally {
      await entries.return?.();
    }
  }

  return {
    name: storage.name,
    capabilities: storage.capabilities,
    get: (key, options) => reported("get", () => storage.get(key, options)),
    put: (key, value, options) => reported("put", () => storage.put(key, value, options)),
    delete: (key, options) => reported("delete", () => storage.delete(key, options)),
    ...(write !== undefined && {
      write: (...args: Parameters<typeof write>) => reported("write", () => write.call(storage, ...args)),
    }),
    list: (prefix, options) => {
      const report = tracer.storageCalled();
      return report === undefined ? storage.list(prefix, options) : list(report, prefix, options);
    },
    ...(close !== undefined && { close: () => close.call(storage) }),
  };
}

/** Returns a logger whose lines have the fields of the tracer; fields of a line win. */
export function tracedLogger(logger: Logger, { logFields }: Pick<Tracer, "logFields">): Logger {
  const withTrace = (fields: LogFields | undefined): LogFields => ({ ...logFields(), ...fields });
  return {
    ...defined({ isDebugEnabled: logger.isDebugEnabled }),
    debug: logger.isDebugEnabled === false
      ? logger.debug
      : (message, fields) => logger.debug(message, withTrace(fields)),
    info: (message, fields) => logger.info(message, withTrace(fields)),
    warn: (message, fields) => logger.warn(message, withTrace(fields)),
    error: (message, fields) => logger.error(message, withTrace(fields)),
  };
}

/** Returns a `fetch` whose requests are traced as calls of Bitrix24. */
export function tracedFetch(fetch: typeof globalThis.fetch, to: "portal" | "oauth", tracer: Tracer): typeof fetch {
  return (input, init) =>
    tracer.trace(callOf(to, input, init), async (note) => {
      const response = await fetch(input, init);
      note(() => ({ status: response.status }));
      return response;
    });
}

/** A method of Bitrix24. Nothing else of a path is reported: the address of a webhook has a secret in it. */
const METHOD = /^[a-z_]{1,40}(\.[a-z0-9_]{1,40}){0,8}$/i;

function methodOf(path: string): string {
  if (path === "/oauth/token/") return "oauth/token";
  const [, folder = "", file = ""] = /([^/]*)\/([^/]*)$/.exec(path) ?? [];
  const name = file.replace(/\.json$/, "");
  if (!METHOD.test(name)) return "other";
  return folder === "api" ? `api/${name}` : name;
}

function callOf(
  to: "portal" | "oauth",
  input: Parameters<typeof fetch>[0],
  init: RequestInit | undefined,
): TracedWork {
  const request = input instanceof Request ? input : undefined;
  const address = request?.url ?? String(input);
  const { hostname = "", port = "", pathname = "" } = URL.canParse(address) ? new URL(address) : {};
  return {
    ...{ kind: "call", to, host: hostname, httpMethod: init?.method ?? request?.method ?? "GET" },
    method: methodOf(pathname),
    ...defined({ port: port === "" ? undefined : Number(port) }),
  };
}
