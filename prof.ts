const body = Deno.readTextFileSync("/work/main/tests/fixtures/update-cloud.form");
async function time(name: string, f: () => unknown) { for (let i=0;i<3000;i++) await f(); const t=performance.now(); const N=20000; for (let i=0;i<N;i++) await f(); console.log(name, ((performance.now()-t)/N*1000).toFixed(1),"us"); }
const { parseTree, decodeBody } = await import("./src/wire/parse.ts");
const t = decodeBody("form", body);
await time("decode", () => decodeBody("form", body));
await time("parseTree", () => parseTree(t, 0));
await time("usp", () => Object.fromEntries(new URLSearchParams(body)));
const { memoryStorage } = await import("./src/storage/memory.ts");
const m = memoryStorage(); let n = 0;
await time("put", () => m.put(["inbox", "a223c6b3710f85df22e9377d6c4f7553", "x"+(n++%100)], t));
await time("get", () => m.get(["inbox", "a223c6b3710f85df22e9377d6c4f7553", "x"+(n++%100)]));
await time("del", async () => {await m.put(["inbox", "a223c6b3710f85df22e9377d6c4f7553", "x"+(n++%100)], t);await m.delete(["inbox", "a223c6b3710f85df22e9377d6c4f7553", "x"+(n++%100)])});
const { respond } = await import("./src/http.ts");
const { DECODE_LIMITS } = await import("./src/wire/tree.ts");
const req = () => new Request("http://localhost/", { method: "POST", body, headers: { "content-type": "application/x-www-form-urlencoded" } });
await time("respond", () => respond({limits:{...DECODE_LIMITS,bodyBytes:65536,bodyTimeoutMs:10000},clock:Date.now,take:async()=>{},rejected:()=>{}}, req(), []));
await time("text", () => req().text());
