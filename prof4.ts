const body = Deno.readTextFileSync("/work/main/tests/fixtures/update-cloud.form");
async function time(name: string, f: () => unknown) { for (let i=0;i<5000;i++) await f(); const t=performance.now(); const N=40000; for (let i=0;i<N;i++) await f(); console.log(name, ((performance.now()-t)/N*1000).toFixed(1),"us"); }
import { Hono } from "hono"; 
// @ts-types="@types/qs"
import qs from "qs";
const { parseTree, decodeBody } = await import("./src/wire/parse.ts");
const t = decodeBody("form", body);
await time("decode", () => decodeBody("form", body));
await time("parseTree", () => parseTree(t, 0));
await time("qs", () => qs.parse(body));
await time("usp", () => Object.fromEntries(new URLSearchParams(body)));
const h = new Hono(); h.post("/", async (c) => { await c.req.parseBody(); return c.body(null, 200); });
const h2 = new Hono(); h2.post("/", async (c) => { qs.parse(await c.req.text()); return c.body(null, 200); });
const h3 = new Hono(); h3.post("/", async (c) => { await c.req.text(); return c.body(null, 200); });
const req = () => new Request("http://localhost/", { method: "POST", body, headers: { "content-type": "application/x-www-form-urlencoded" } });
await time("hono parseBody", () => h.fetch(req()));
await time("hono qs", () => h2.fetch(req()));
await time("hono text", () => h3.fetch(req()));
const { respond } = await import("./src/http.ts");
const { DECODE_LIMITS } = await import("./src/wire/tree.ts");
await time("respond", () => respond({limits:{...DECODE_LIMITS,bodyBytes:65536,bodyTimeoutMs:10000},clock:Date.now,take:async()=>{},rejected:()=>{}}, req(), []));
await time("text", () => req().text());
