import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer } from "node:net";
import { NonRetriableError } from "@b24/onappupdate";
import { emailChannel } from "@b24/onappupdate/notifications";
// @ts-types="@types/nodemailer"
import { createTransport, type Transporter } from "nodemailer";
// @ts-types="@types/smtp-server"
import { SMTPServer, type SMTPServerOptions } from "smtp-server";
import { after, describe, it, waitFor } from "../../../support/test.ts";
import { everythingOf, notification, send, thrownBy } from "../../../unit/plugins/notifications/_channel.ts";

const PASSWORD = "Pa55w0rd-of-the-server";
const LOGIN = { user: "app@example.com", pass: PASSWORD };
const ADDRESSES = { from: "Äpp <app@example.com>", to: ["ops@example.com", "boss@example.com"] };

interface Received {
  readonly sender: string;
  readonly recipients: readonly string[];
  readonly message: string;
}

/** Starts a server of SMTP and returns a transport to it. */
async function serve(options: SMTPServerOptions = {}): Promise<{ transport: Transporter; received: Received[] }> {
  const received: Received[] = [];
  const server = new SMTPServer({
    disabledCommands: ["STARTTLS"],
    authMethods: ["PLAIN"],
    allowInsecureAuth: true,
    onAuth: ({ username, password }, _, done) => {
      if (password === PASSWORD) done(null, { user: username });
      else done(Object.assign(new Error(`no such login: ${username} ${password}`), { responseCode: 535 }));
    },
    onData: (stream, { envelope }, done) => {
      let message = "";
      stream.setEncoding("utf8").on("data", (chunk) => message += chunk);
      stream.on("end", () => {
        const recipients = envelope.rcptTo.map(({ address }) => address);
        received.push({ sender: envelope.mailFrom === false ? "" : envelope.mailFrom.address, recipients, message });
        done();
      });
    },
    ...options,
  });
  // The client may hang up.
  server.on("error", () => {});
  server.listen(0, "127.0.0.1");
  await once(server.server, "listening");
  after(() => server.close(() => {}));
  const { port } = server.server.address() as AddressInfo;
  return { transport: transportTo(port), received };
}

function transportTo(port: number, auth = LOGIN): Transporter {
  const transport = createTransport({ host: "127.0.0.1", port, auth, secure: false, ignoreTLS: true });
  after(() => transport.close());
  return transport;
}

/** Returns the headers of a message, by their names in lower case, with their lines unfolded. */
function headersOf(message: string): ReadonlyMap<string, string> {
  const lines = message.split("\r\n\r\n", 1)[0]!.replaceAll(/\r\n[ \t]+/g, " ").split("\r\n");
  return new Map(lines.map((line) => [line.split(":", 1)[0]!.toLowerCase(), line.slice(line.indexOf(":") + 1).trim()]));
}

describe("emailChannel() over SMTP", () => {
  it("delivers a notification in two parts, with the same Message-ID each time", async () => {
    const { transport, received } = await serve();
    const channel = emailChannel({ transport, ...ADDRESSES });
    await send(channel, notification({ title: "40 порталов 😀\r\nBcc: evil@example.com" }), "n:1");
    await send(channel, notification(), "n:1");
    const [{ sender, recipients, message }] = received as [Received];
    assert.equal(sender, "app@example.com");
    assert.deepEqual(recipients, ["ops@example.com", "boss@example.com"]);
    const headers = headersOf(message);
    assert.ok(!headers.has("bcc"));
    assert.equal(headers.get("auto-submitted"), "auto-generated");
    assert.match(headers.get("content-type")!, /^multipart\/alternative/);
    assert.match(message, /content-type: text\/plain[^]*content-type: text\/html/i);
    const ids = received.map(({ message }) => headersOf(message).get("message-id"));
    assert.deepEqual(ids, ["<n=3a=1@example.com>", "<n=3a=1@example.com>"]);
  });

  it("gives up if the login is refused, without the password in its error", async () => {
    const { transport, received } = await serve();
    const { port } = transport.options as { readonly port: number };
    const channel = emailChannel({ transport: transportTo(port, { ...LOGIN, pass: `${PASSWORD}-old` }), ...ADDRESSES });
    const error = await thrownBy(() => send(channel));
    assert.ok(error instanceof NonRetriableError);
    assert.equal(error.message, "email: the message was not sent (EAUTH, SMTP 535)");
    assert.ok(!everythingOf(error).includes(PASSWORD));
    assert.equal(received.length, 0);
  });

  const statuses = [[550, true], [450, false], [421, false]] as const;
  for (const [responseCode, isFinal] of statuses) {
    it(`${isFinal ? "gives up" : "retries"} if the sender is refused with ${responseCode}`, async () => {
      const { transport } = await serve({
        onMailFrom: ({ address }, _, done) =>
          done(Object.assign(new Error(`${address} is refused by ${PASSWORD}`), { responseCode })),
      });
      const error = await thrownBy(() => send(emailChannel({ transport, ...ADDRESSES })));
      assert.equal(error instanceof NonRetriableError, isFinal);
      assert.equal(error.message, `email: the message was not sent (EENVELOPE, SMTP ${responseCode})`);
      assert.ok(!everythingOf(error).includes(PASSWORD));
    });
  }

  it("retries if the message is refused for now", async () => {
    const { transport } = await serve({
      onData: (stream, _, done) => {
        stream.resume();
        stream.on("end", () => done(Object.assign(new Error("greylisted"), { responseCode: 451 })));
      },
    });
    const error = await thrownBy(() => send(emailChannel({ transport, ...ADDRESSES })));
    assert.ok(!(error instanceof NonRetriableError));
    assert.equal(error.message, "email: the message was not sent (EMESSAGE, SMTP 451)");
  });

  it("reports a recipient that is refused, after the others have the message", async () => {
    const { transport, received } = await serve({
      onRcptTo: ({ address }, _, done) =>
        done(address.startsWith("boss") ? Object.assign(new Error("unknown"), { responseCode: 550 }) : null),
    });
    const error = await thrownBy(() => send(emailChannel({ transport, ...ADDRESSES })));
    assert.ok(error instanceof NonRetriableError);
    assert.equal(error.message, "email: the server refused 1 of 2 recipients");
    assert.deepEqual(received.map(({ recipients }) => recipients), [["ops@example.com"]]);
  });

  it("retries if nothing listens", async () => {
    const error = await thrownBy(() => send(emailChannel({ transport: transportTo(1), ...ADDRESSES })));
    assert.ok(!(error instanceof NonRetriableError));
    assert.match(error.message, /^email: the message was not sent \((ESOCKET|ECONNECTION|ECONNREFUSED|EDNS)\)$/);
    assert.ok(!everythingOf(error).includes(PASSWORD));
  });

  it("stops waiting for a server that hangs when its signal is aborted", async () => {
    const controller = new AbortController();
    const server = createServer((socket) => {
      socket.on("error", () => {});
      controller.abort(new DOMException("too slow", "TimeoutError"));
    });
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    const transport = transportTo((server.address() as AddressInfo).port);
    const channel = emailChannel({ transport, ...ADDRESSES });
    const sending = channel.send(notification(), { id: "n-1", signal: controller.signal });
    await assert.rejects(waitFor("the end of the attempt", sending), { name: "TimeoutError" });
    after(() => server.close());
  });
});
