/** HTTP by bytes, for requests that no client library would send. */
import { once } from "node:events";
import { connect, type Socket } from "node:net";

export interface Reply {
  readonly status: number;
  readonly headers: Headers;
  readonly body: string;
}

/** A connection that stays open and has one request at a time. */
export interface Connection {
  readonly socket: Socket;
  /** Writes bytes and resolves to one answer, which has no body if the method is HEAD. */
  readonly send: (bytes: string | Uint8Array, method?: string) => Promise<Reply>;
  readonly close: () => Promise<void>;
}

/** Opens a connection. Its `send` rejects if the server ends the connection before the answer is complete. */
export async function openConnection(port: number): Promise<Connection> {
  const socket = connect(port, "127.0.0.1");
  let received = "";
  const closed = Promise.withResolvers<void>();
  let ended = false;
  let changed = Promise.withResolvers<void>();
  const wake = (): void => {
    changed.resolve();
    changed = Promise.withResolvers<void>();
  };
  // One character per byte, so that lengths count bytes.
  socket.setEncoding("latin1");
  socket.on("data", (text: string) => {
    received += text;
    wake();
  });
  socket.on("error", () => {});
  socket.on("close", () => {
    ended = true;
    closed.resolve();
    wake();
  });
  await once(socket, "connect");
  return {
    socket,
    send: async (bytes, method) => {
      socket.write(bytes);
      while (true) {
        const parsed = parse(received, method === "HEAD");
        if (parsed !== undefined) {
          received = parsed.rest;
          return parsed.reply;
        }
        if (ended) throw new Error(`the connection ended after ${JSON.stringify(received)}`);
        await changed.promise;
      }
    },
    close: async () => {
      socket.destroy();
      await closed.promise;
    },
  };
}

/** Returns a request in HTTP/1.1, without the headers that are undefined. */
export function request(
  method: string,
  headers: Readonly<Record<string, string | undefined>>,
  ...body: readonly Uint8Array[]
): Uint8Array {
  const lines = Object.entries(headers).flatMap(([name, value]) => value === undefined ? [] : [`${name}: ${value}`]);
  const head = [`${method} /b24/events?secret=1 HTTP/1.1`, "host: localhost", ...lines, "", ""].join("\r\n");
  return joined([new TextEncoder().encode(head), ...body]);
}

/** Returns `body` as `transfer-encoding: chunked` has it, in chunks of at most `size` bytes. */
export function chunked(body: Uint8Array, size = 16_384): Uint8Array {
  const encoder = new TextEncoder();
  const parts: Uint8Array[] = [];
  for (let start = 0; start < body.byteLength; start += size) {
    const piece = body.subarray(start, start + size);
    parts.push(encoder.encode(`${piece.byteLength.toString(16)}\r\n`), piece, encoder.encode("\r\n"));
  }
  return joined([...parts, encoder.encode("0\r\n\r\n")]);
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((size, part) => size + part.byteLength, 0));
  let offset = 0;
  for (const part of parts) {
    all.set(part, offset);
    offset += part.byteLength;
  }
  return all;
}

function parse(received: string, headOnly: boolean): { readonly reply: Reply; readonly rest: string } | undefined {
  const end = received.indexOf("\r\n\r\n");
  if (end < 0) return undefined;
  const [statusLine = "", ...lines] = received.slice(0, end).split("\r\n");
  const headers = new Headers(lines.map((line): [string, string] => {
    const colon = line.indexOf(":");
    return [line.slice(0, colon), line.slice(colon + 1).trim()];
  }));
  const after = received.slice(end + 4);
  const content = headOnly
    ? { body: "", rest: after }
    : headers.get("transfer-encoding") === "chunked"
    ? unchunked(after)
    : sized(after, Number(headers.get("content-length") ?? 0));
  if (content === undefined) return undefined;
  const body = new TextDecoder().decode(Uint8Array.from(content.body, (byte) => byte.charCodeAt(0)));
  return { reply: { status: Number(statusLine.split(" ")[1]), headers, body }, rest: content.rest };
}

type Content = { readonly body: string; readonly rest: string } | undefined;

function sized(text: string, length: number): Content {
  return text.length < length ? undefined : { body: text.slice(0, length), rest: text.slice(length) };
}

function unchunked(text: string): Content {
  let body = "";
  while (true) {
    const line = text.indexOf("\r\n");
    if (line < 0) return undefined;
    const size = parseInt(text.slice(0, line), 16);
    const end = line + 2 + size;
    if (text.length < end + 2) return undefined;
    body += text.slice(line + 2, end);
    text = text.slice(end + 2);
    if (size === 0) return { body, rest: text };
  }
}
