/** Load over HTTP: requests on a number of connections, each of which sends the next one when the last is answered. */
import { connect, type Socket } from "node:net";

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

/**
 * Sends the requests and resolves to the time (ms) that each was answered in.
 *
 * @throws {Error} if an answer has another status than 200
 */
export async function sendAll(port: number, requests: readonly string[], connections: number): Promise<number[]> {
  const times: number[] = [];
  let next = 0;
  await Promise.all(Array.from({ length: connections }, () =>
    new Promise<void>((resolve, reject) => {
      let sentAt = 0;
      let answer = "";
      const send = (socket: Socket): void => {
        const request = requests[next++];
        if (request === undefined) return void socket.destroy();
        answer = "";
        sentAt = performance.now();
        socket.write(request);
      };
      const socket = connect(port, "127.0.0.1", () => send(socket));
      socket.setNoDelay(true);
      socket.on("error", reject);
      socket.on("close", () => resolve());
      socket.on("data", (data) => {
        answer += data.toString("latin1");
        if (!isComplete(answer)) return;
        if (!answer.startsWith("HTTP/1.1 200")) {
          socket.destroy();
          return reject(new Error(`wanted the status 200, saw ${answer}`));
        }
        times.push(performance.now() - sentAt);
        send(socket);
      });
    })));
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
