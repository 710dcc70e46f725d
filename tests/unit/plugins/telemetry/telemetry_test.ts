import assert from "node:assert/strict";
import { context, trace } from "@opentelemetry/api";
import { type App, RetryAfterError } from "@b24/onappupdate";
import { B24Error } from "@b24/onappupdate/errors";
import { type HasB24, rest } from "@b24/onappupdate/rest";
import { telemetry } from "@b24/onappupdate/telemetry";
import type { ReadableSpan } from "@opentelemetry/sdk-trace-node";
import { MEMBER_ID, post, quietLogger, recordingLogger, type Rig, rig } from "../../../support/app.ts";
import { type InMemorySdk, inMemorySdk } from "../../../support/otel.ts";
import { afterEach, beforeEach, describe, it } from "../../../support/test.ts";

let sdk: InMemorySdk;

const named = (name: string): ReadableSpan[] => sdk.spans().filter((span) => span.name === name);

function only(name: string): ReadableSpan {
  const [span, ...others] = named(name);
  assert(span !== undefined && others.length === 0, `${name}: ${named(name).length}`);
  return span;
}

/** Returns the names of a span and of those around it, the outermost first. */
function pathOf(span: ReadableSpan): string {
  const parent = sdk.spans().find((one) => one.spanContext().spanId === span.parentSpanContext?.spanId);
  return parent === undefined ? span.name : `${pathOf(parent)} > ${span.name}`;
}

/** Returns an app with telemetry() whose portal is on version 2, and no span yet. */
async function traced(
  extend: (app: App<HasB24>) => unknown = () => {},
  options: Parameters<typeof telemetry>[0] = {},
  appOptions: Parameters<typeof rig>[0] = {},
): Promise<Rig> {
  const made = rig({ logger: quietLogger, ...appOptions });
  extend(made.app.use(telemetry(options)).use(rest()));
  await made.send(made.portal.install(2));
  await made.settled();
  sdk.reset();
  return made;
}

describe("telemetry()", () => {
  beforeEach(() => void (sdk = inMemorySdk()));
  afterEach(() => sdk.close());

  it("makes one trace of the request, its verification, the run, its steps and their calls", async () => {
    const { app, portal, send } = await traced((app) => {
      app.upgrade("3", async ({ step, b24 }) => {
        await step("one", async () => {
          await b24.call("crm.deal.list");
          trace.getTracer("vendor").startSpan("vendor's").end();
        });
      });
    });
    portal.answer("crm.deal.list", () => []);
    await send(portal.update(3));
    await app.settled();
    const request = only("POST");
    const upgrade = "POST > b24.delivery > b24.run > b24.upgrade";
    assert.equal(pathOf(only("POST crm.deal.list")), `${upgrade} > b24.step > POST crm.deal.list`);
    assert.equal(pathOf(only("vendor's")), `${upgrade} > b24.step > vendor's`);
    assert.equal(pathOf(only("b24.verification")), "POST > b24.verification");
    assert.equal(pathOf(only("POST app.info")), "POST > b24.check > POST app.info");
    assert.deepEqual(
      new Set(sdk.spans().map((span) => span.spanContext().traceId)),
      new Set([request.spanContext().traceId]),
    );
    assert.deepEqual(only("POST crm.deal.list").attributes, {
      ...{ "http.request.method": "POST", "server.address": portal.domain, "b24.method": "crm.deal.list" },
      ...{ "b24.call.to": "portal", "http.response.status_code": 200 },
    });
    assert.deepEqual(only("b24.step").attributes, {
      ...{ "b24.member_id": MEMBER_ID, "b24.upgrade.id": "3", "b24.step.name": "one", "b24.attempt": 1 },
      "b24.outcome": "finished",
    });
    assert.deepEqual(request.attributes, { "http.request.method": "POST", "http.response.status_code": 200 });
    await app.close();
  });

  it("links later attempts to the request, each in a trace of its own", async () => {
    let failures = 1;
    const { app, portal, send, later } = await traced((app) => {
      app.upgrade("3", async ({ step, sleep }) => {
        await step("one", () => {
          if (failures-- > 0) throw new RetryAfterError(1000, "not yet");
        });
        await sleep("a while", 60_000);
      });
    });
    await send(portal.update(3));
    for (let attempt = 2; attempt <= 3; attempt++) {
      later();
      await app.tick();
    }
    const request = only("POST").spanContext();
    const [first, ...others] = named("b24.delivery");
    assert.equal(first!.spanContext().traceId, request.traceId);
    assert.equal(others.length, 2);
    for (const { links, parentSpanContext } of others) {
      assert.equal(parentSpanContext, undefined);
      assert.deepEqual(links.map(({ context }) => context.spanId), [request.spanId]);
    }
    const traces = new Set(named("b24.delivery").map((span) => span.spanContext().traceId));
    assert.equal(traces.size, 3);
    assert.deepEqual(named("b24.delivery").map(({ attributes }) => attributes["b24.outcome"]), [
      ...["failed", "suspended", "handled"],
    ]);
    await app.close();
  });

  it("makes one span of a rollback, with the calls of its steps in it", async () => {
    const { app, portal, send } = await traced((app) => {
      app.upgrade("3", async ({ step, b24 }) => {
        await step("one", () => 1, { undo: async () => void await b24.call("crm.deal.list") });
      });
    });
    const note = { by: "test", reason: "telemetry" };
    await send(portal.update(3));
    await app.settled();
    sdk.reset();
    portal.fail("ACCESS_DENIED", { method: "crm.deal.list" });
    await assert.rejects(app.admin.rollback(MEMBER_ID, note));
    portal.answer("crm.deal.list", () => []);
    await app.admin.rollback(MEMBER_ID, note);
    const rollbacks = named("b24.rollback");
    const attributes = { "b24.member_id": MEMBER_ID, "b24.version.from": "3.0.0", "b24.version.to": "2.0.0" };
    assert.deepEqual(rollbacks.map(({ attributes }) => attributes), [
      { ...attributes, "b24.outcome": "failed", "error.type": "bitrix24", "b24.error.code": "ACCESS_DENIED" },
      { ...attributes, "b24.outcome": "finished" },
    ]);
    assert.deepEqual(named("POST crm.deal.list").map(pathOf), [
      ...["b24.rollback > POST crm.deal.list", "b24.rollback > POST crm.deal.list"],
    ]);
    await app.close();
  });

  it("records errors without tokens, with the code of an error of this package", async () => {
    const secret = "3a0f7d66007e2a1c";
    const { app, portal, send } = await traced((app) => {
      app.upgrade(
        "3",
        ({ step }) =>
          step("one", () => {
            throw new B24Error({
              code: "ACCESS_DENIED",
              description: `access_token=${secret}`,
              status: 401,
              method: "x",
            });
          }),
      );
    });
    await send(portal.update(3));
    const { attributes, events, status } = only("b24.step");
    assert.equal(attributes["error.type"], "bitrix24");
    assert.equal(attributes["b24.error.code"], "ACCESS_DENIED");
    assert.equal(events[0]!.name, "exception");
    assert.match(String(events[0]!.attributes!["exception.message"]), /access_token=\[redacted\]/);
    assert.equal(status.code, 2);
    const seen = JSON.stringify(
      sdk.spans().map(({ name, attributes, events, status }) => [name, attributes, events, status]),
    );
    assert(!seen.includes(secret));
    await app.close();
  });

  const SENT = { traceId: "4bf92f3577b34da6a3ce929d0e0e4736", spanId: "00f067aa0ba902b7" };
  const traceparent = `00-${SENT.traceId}-${SENT.spanId}-01`;
  const requestWith = (headers: Readonly<Record<string, string>>, body: string): Request =>
    new Request(post(body), { headers: { "content-type": "application/x-www-form-urlencoded", ...headers } });

  it("does not trust the headers of a request, and links its own trace to them", async () => {
    const { app, portal } = await traced();
    await app.fetch(requestWith({ traceparent, baggage: "user=mallory" }, portal.update(2)));
    const { links, parentSpanContext } = only("POST");
    assert.equal(parentSpanContext, undefined);
    assert.deepEqual(links.map(({ context: { traceId, spanId } }) => ({ traceId, spanId })), [SENT]);
    sdk.reset();
    const malformed = [
      "",
      "00-0-0-01",
      `ff-${SENT.traceId}-${SENT.spanId}-01`,
      `00-${"0".repeat(32)}-${SENT.spanId}-01`,
    ];
    for (const traceparent of malformed) await app.fetch(requestWith({ traceparent }, portal.update(2)));
    assert.deepEqual(named("POST").map(({ links }) => links), malformed.map(() => []));
    await app.close();
  });

  it("is linked to the span of a server that instruments itself", async () => {
    const { app, portal } = await traced();
    const server = trace.getTracer("server").startSpan("server");
    await context.with(trace.setSpan(context.active(), server), () => app.fetch(post(portal.update(2))));
    const { links, parentSpanContext } = only("POST");
    assert.equal(parentSpanContext, undefined);
    assert.deepEqual(links.map(({ context }) => context.spanId), [server.spanContext().spanId]);
    await app.close();
  });

  it("continues the trace of the request, or of the server, with `trustIncomingTrace`", async () => {
    const { app, portal } = await traced(() => {}, { trustIncomingTrace: true });
    await app.fetch(requestWith({ traceparent }, portal.update(2)));
    assert.equal(only("POST").parentSpanContext?.spanId, SENT.spanId);
    sdk.reset();
    const server = trace.getTracer("server").startSpan("server");
    await context.with(
      trace.setSpan(context.active(), server),
      () => app.fetch(requestWith({ traceparent }, portal.update(2))),
    );
    assert.equal(only("POST").parentSpanContext?.spanId, server.spanContext().spanId);
    await app.close();
  });

  it("adds the ids of the span to log lines", async () => {
    const { logger, lines } = recordingLogger();
    const { app, portal, send } = await traced(
      (app) => app.upgrade("3", ({ step, log }) => step("one", () => log.info("hello"))),
      {},
      { logger },
    );
    await send(portal.update(3));
    const { trace_id, span_id } = JSON.parse(lines.find((line) => line.includes('"hello"'))!);
    const { traceId, spanId } = only("b24.step").spanContext();
    assert.deepEqual([trace_id, span_id], [traceId, spanId]);
    assert.equal(only("POST").spanContext().traceId, traceId);
    await app.close();
  });

  it("refuses unknown options", () => {
    assert.throws(() => telemetry({ trustIncommingTrace: true } as never), {
      name: "TypeError",
      message: /trustIncommingTrace/,
    });
  });
});

describe("telemetry() without an SDK", () => {
  it("stores nothing, adds nothing to log lines, and the work is done", async () => {
    const { logger, lines } = recordingLogger();
    const { app, portal, send } = rig({ logger });
    app.use(telemetry()).upgrade("3", () => {});
    await send(portal.install(2));
    await app.fetch(
      new Request(post(portal.update(3)), {
        headers: {
          "content-type": "application/x-www-form-urlencoded",
          traceparent: "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        },
      }),
    );
    await app.settled();
    assert.equal((await app.portal(MEMBER_ID))?.version, "3.0.0");
    assert(lines.length > 0 && !lines.some((line) => line.includes("trace_id")));
    await app.close();
  });
});
