/** Frameworks for Node that a handler is mounted in, before and after their body parsers. */
import "reflect-metadata";
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import formbody from "@fastify/formbody";
import { bodyParser } from "@koa/bodyparser";
import { All, Controller, type INestApplication, Module, Req, Res } from "@nestjs/common";
import { NestFactory } from "@nestjs/core";
import { ExpressAdapter } from "@nestjs/platform-express";
import type { NodeHandler } from "@b24/onappupdate/node-server";
// @ts-types="@types/express"
import express, { type Request, type RequestHandler } from "express";
import express4 from "express4";
import fastify, { type FastifyInstance } from "fastify";
// @ts-types="@types/koa"
import Koa from "koa";

/** A server that has a handler under every path below `/events`. */
export interface Mounted {
  readonly url: string;
  readonly close: () => Promise<void>;
}

/** One way to mount a handler. */
export interface Mount {
  readonly name: string;
  /** Whether something reads the body before the handler. */
  readonly isParsed: boolean;
  readonly mount: (handler: NodeHandler) => Promise<Mounted>;
}

async function listening(listener: RequestListener): Promise<Mounted> {
  const server: Server = createServer(listener);
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}/events`,
    close: async () => {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** Both versions have the same parsers. */
const EXPRESS = { "Express 4": express4 as unknown as typeof express, "Express 5": express };

type Parsers = (framework: typeof express) => RequestHandler[];

const keepRaw = (request: object, _response: object, bytes: Uint8Array): void =>
  void Object.assign(request, { rawBody: bytes });

const EXPRESS_PARSERS: Readonly<Record<string, Parsers>> = {
  "before parsers": () => [],
  "after urlencoded({ extended: true }) and json()": ({ urlencoded, json }) => [urlencoded({ extended: true }), json()],
  "after urlencoded({ extended: false }) and json()": ({ urlencoded, json }) => [
    urlencoded({ extended: false }),
    json(),
  ],
  "after raw()": ({ raw }) => [raw({ type: () => true })],
  "after text()": ({ text }) => [text({ type: () => true })],
  "after parsers that keep rawBody": ({ urlencoded, json }) => [
    ...[urlencoded({ extended: true, verify: keepRaw }), json({ verify: keepRaw })],
  ],
};

function expressMounts(): Mount[] {
  return Object.entries(EXPRESS).flatMap(([version, framework]) =>
    Object.entries(EXPRESS_PARSERS).map(([when, parsers]) => ({
      name: `${version} ${when}`,
      isParsed: parsers(framework).length > 0,
      mount: (handler: NodeHandler) => {
        const app = framework();
        for (const parser of parsers(framework)) app.use(parser);
        app.use("/events", handler);
        return listening(app);
      },
    }))
  );
}

async function fastifyServer(prepare: (server: FastifyInstance) => unknown, handler: NodeHandler): Promise<Mounted> {
  const server = fastify({ forceCloseConnections: true });
  await prepare(server);
  server.all("/events/*", handler);
  const url = await server.listen({ port: 0, host: "127.0.0.1" });
  return { url: `${url}/events`, close: () => server.close() };
}

const FORM = "application/x-www-form-urlencoded";

const FASTIFY: Readonly<Record<string, (server: FastifyInstance) => unknown>> = {
  "before parsers": (server) => {
    server.removeAllContentTypeParsers();
    server.addContentTypeParser("*", (_request, _payload, done) => done(null));
  },
  "after @fastify/formbody and its own JSON parser": (server) => server.register(formbody),
  "after a parser that returns bytes": (server) => {
    const types = [FORM, "application/json"];
    server.removeContentTypeParser("application/json");
    server.addContentTypeParser(types, { parseAs: "buffer" }, (_request, body, done) => done(null, body));
  },
};

function fastifyMounts(): Mount[] {
  return Object.entries(FASTIFY).map(([when, prepare]) => ({
    name: `Fastify ${when}`,
    isParsed: when !== "before parsers",
    mount: (handler) => fastifyServer(prepare, handler),
  }));
}

function koaMounts(): Mount[] {
  return [false, true].map((isParsed) => ({
    name: `Koa ${isParsed ? "after @koa/bodyparser" : "before parsers"}`,
    isParsed,
    mount: (handler) => {
      const app = new Koa();
      if (isParsed) app.use(bodyParser());
      app.use((context, next) => context.path.startsWith("/events") ? handler(context, next) : next());
      return listening(app.callback());
    },
  }));
}

/** Returns a module with a controller. Its decorators are called, because Node does not know their syntax. */
function moduleOf(handler: NodeHandler): new () => object {
  class Events {
    handle(request: Request, response: Parameters<RequestHandler>[1]): Promise<void> {
      return handler(request, response);
    }
  }
  const method = Object.getOwnPropertyDescriptor(Events.prototype, "handle")!;
  All("{*path}")(Events.prototype, "handle", method);
  Req()(Events.prototype, "handle", 0);
  Res()(Events.prototype, "handle", 1);
  Controller("events")(Events);
  class Root {}
  Module({ controllers: [Events] })(Root);
  return Root;
}

async function nestServer(app: INestApplication): Promise<Mounted> {
  await app.listen(0, "127.0.0.1");
  const { port } = app.getHttpServer().address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}/events`, close: () => app.close() };
}

const NEST = { forceCloseConnections: true, logger: false, abortOnError: false } as const;

function nestMounts(): Mount[] {
  const controller = (rawBody: boolean) => async (handler: NodeHandler): Promise<Mounted> =>
    await nestServer(await NestFactory.create(moduleOf(handler), new ExpressAdapter(), { ...NEST, rawBody }));
  class Empty {}
  Module({})(Empty);
  return [
    {
      name: "Nest before parsers",
      isParsed: false,
      mount: async (handler) => {
        const app = await NestFactory.create(Empty, new ExpressAdapter(), NEST);
        app.use("/events", handler);
        return await nestServer(app);
      },
    },
    { name: "Nest in a controller", isParsed: true, mount: controller(false) },
    { name: "Nest in a controller with rawBody", isParsed: true, mount: controller(true) },
  ];
}

/** All ways to mount a handler. */
export const MOUNTS: readonly Mount[] = [
  { name: "node:http", isParsed: false, mount: (handler) => listening(handler) },
  ...expressMounts(),
  ...fastifyMounts(),
  ...koaMounts(),
  ...nestMounts(),
];
