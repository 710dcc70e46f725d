/** Load over HTTP: requests on a number of connections. Each sends the next one when the last is answered. */
import { connect } from "node:net";

/** A request: its body and the headers that depend on it. */
export interface LoadRequest {
  readonly body: string;
  /** @default { "content-type": "application/x-www-form-urlencoded" } */
  readonly headers?: Readonly<Record<string, string>>;
}

/** Returns a request as it goes over the wire. */
export function encodeRequest(
  { body, headers = { "content-type": "application/x-www-form-urlencoded" } }: LoadRequest,
): string {
  const lines = Object.entries({
    host: "localhost",
    ...headers,
    "content-length": String(new TextEncoder().encode(body).length),
  });
  return `POST / HTTP/1.1\r\n${lines.map(([name, value]) => `${name}: ${value}\r\n`).join("")}\r\n${body}`;
}

/** A request that is not answered yet. */
interface Pending {
  readonly request: string;
  readonly sentAt: number;
}

/**
 * Sends the requests and resolves to the time (ms) that each was answered in. A request whose connection the server resets
 * is sent again; its time goes on.
 *
 * @throws {Error} if an answer has another status than 200
 */
export async function sendAll(port: number, requests: readonly string[], connections: number): Promise<number[]> {
  const times: number[] = [];
  const waiting = requests.values();
  const next = (): Pending | undefined => {
    const { value } = waiting.next();
    return value === undefined ? undefined : { request: value, sentAt: performance.now() };
  };

  /** Sends requests on one connection, and resolves to the one that was not answered when it broke. */
  const sendOn = (first: Pending): Promise<Pending | undefined> =>
    new Promise((resolve, reject) => {
      let pending: Pending | undefined = first;
      let answer = "";
      const socket = connect(port, "127.0.0.1", () => socket.write(first.request)).setNoDelay(true);
      socket.on("error", (error: NodeJS.ErrnoException) => error.code === "ECONNRESET" || reject(error));
      socket.on("close", () => resolve(pending));
      socket.on("data", (data) => {
        answer += data.toString("latin1");
        if (!isComplete(answer)) return;
        if (!answer.startsWith("HTTP/1.1 200")) {
          socket.destroy();
          return reject(new Error(`wanted the status 200, saw ${answer}`));
        }
        times.push(performance.now() - pending!.sentAt);
        answer = "";
        pending = next();
        if (pending === undefined) socket.destroy();
        else socket.write(pending.request);
      });
    });

  await Promise.all(Array.from({ length: connections }, async () => {
    for (let pending = next(); pending !== undefined;) pending = await sendOn(pending);
  }));
  if (times.length !== requests.length) throw new Error(`${times.length} of ${requests.length} requests were answered`);
  return times;
}

function isComplete(answer: string): boolean {
  const end = answer.indexOf("\r\n\r\n");
  if (end < 0) return false;
  const head = answer.slice(0, end);
  if (/transfer-encoding: chunked/i.test(head)) return answer.endsWith("\r\n0\r\n\r\n");
  return answer.length - end - 4 >= Number(/content-length: (\d+)/i.exec(head)?.[1] ?? 0);
}

/** Returns the value below which the share `p` of the values is. */
export function percentile(values: readonly number[], p: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(p * sorted.length))]!;
}
