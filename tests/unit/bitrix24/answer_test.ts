import assert from "node:assert/strict";
import { type AnswerLimits, readAnswer } from "@b24/onappupdate";
import { AnswerTooLargeError } from "@b24/onappupdate/errors";
import { describe, it } from "../../support/test.ts";

const json = async (text: string | Uint8Array<ArrayBuffer>, limits?: AnswerLimits): Promise<unknown> =>
  (await readAnswer(new Response(text), limits)).json;

describe("readAnswer()", () => {
  it("resolves to the text and the value of JSON", async () => {
    const text = '{"result": ["ä", 1.50]}';
    assert.deepEqual(await readAnswer(new Response(text)), { text, json: { result: ["ä", 1.5] } });
    assert.deepEqual(await readAnswer(new Response("null")), { text: "null", json: null });
  });

  it("resolves to no value for anything else", async () => {
    for (const text of ["", "<html>", '{"result": ', "[".repeat(200_000)]) {
      assert.deepEqual(await readAnswer(new Response(text)), { text, json: undefined });
    }
    assert.deepEqual(await readAnswer(new Response()), { text: "", json: undefined });
    assert.deepEqual(await readAnswer(new Response(new Uint8Array([0x22, 0xff, 0x22]))), { text: "", json: undefined });
  });

  it("accepts answers up to answerBytes, by default 4 MiB, and none above", async () => {
    const text = (bytes: number): string => JSON.stringify("x".repeat(bytes - 2));
    assert.equal(await json(text(100), { answerBytes: 100 }), "x".repeat(98));
    await assert.rejects(json(text(101), { answerBytes: 100 }), {
      name: "AnswerTooLargeError",
      code: "answer_too_large",
      limit: "answerBytes",
      max: 100,
      message: "the answer has more than 100 bytes",
    });
    assert.equal((await json(text(2 ** 22)) as string).length, 2 ** 22 - 2);
    await assert.rejects(json(text(2 ** 22 + 1)), { message: "the answer has more than 4194304 bytes" });
    // In bytes, not in characters.
    await assert.rejects(json('"ыы"', { answerBytes: 5 }), AnswerTooLargeError);
  });

  it("does not read the rest of a large answer", async () => {
    let [pulled, isCancelled] = [0, false];
    const body = new ReadableStream({
      pull: (controller) => controller.enqueue(new Uint8Array(1000).fill(0x20 + 0 * pulled++)),
      cancel: () => void (isCancelled = true),
    });
    await assert.rejects(readAnswer(new Response(body), { answerBytes: 5000 }), AnswerTooLargeError);
    assert(isCancelled && pulled < 10, `${pulled}`);
  });

  const containers: readonly [text: string, containers: number][] = [
    ["[[],[]]", 3],
    ['{"a":{},"b":[]}', 3],
    ['["[[[{{{", "\\"[", "\\\\", []]', 2],
    [`[${"[],".repeat(999)}1]`, 1000],
    [`${"[".repeat(500)}${"]".repeat(500)}`, 500],
    [`{"a":"${"[".repeat(5000)}\\"${"{".repeat(5000)}"}`, 1],
  ];
  for (const [text, count] of containers) {
    it(`counts ${count} containers in ${text.slice(0, 30)}`, async () => {
      assert.deepEqual(await json(text, { answerContainers: count }), JSON.parse(text));
      if (count === 1) return;
      await assert.rejects(json(text, { answerContainers: count - 1 }), {
        name: "AnswerTooLargeError",
        limit: "answerContainers",
        message: `the answer has more than ${count - 1} arrays and objects`,
      });
    });
  }

  it("accepts 100,000 containers by default, and none above", async () => {
    const text = (count: number): string => `[${"[],".repeat(count - 2)}[]]`;
    assert.equal((await json(text(100_000)) as unknown[]).length, 99_999);
    await assert.rejects(json(text(100_001)), { limit: "answerContainers", max: 100_000 });
  });

  it("parses large answers one at a time, and lets other work run in between", async () => {
    const body = JSON.stringify("x".repeat(300_000));
    const order: string[] = [];
    const answers = Array.from({ length: 4 }, async () => {
      await json(body);
      order.push("answer");
    });
    let isOver = false;
    const tick = (): void => {
      order.push("tick");
      if (!isOver) setTimeout(tick, 0);
    };
    tick();
    await Promise.all(answers);
    isOver = true;
    assert.doesNotMatch(order.join(" "), /answer answer/);
  });

  it("goes on with the next large answer after one that is refused or aborted", async () => {
    const body = JSON.stringify("x".repeat(300_000));
    const aborted = new AbortController();
    const answers = [
      json(`[${"[],".repeat(150_000)}1]`),
      readAnswer(new Response(body), {}, aborted.signal),
      json(body),
    ];
    aborted.abort(new Error("over"));
    const settled = await Promise.allSettled(answers);
    assert.deepEqual(settled.map(({ status }) => status), ["rejected", "rejected", "fulfilled"]);
    assert.equal((settled[1] as PromiseRejectedResult).reason.message, "over");
  });

  it("ends with its signal, even if the body ignores it", async () => {
    const controller = new AbortController();
    let isCancelled = false;
    const body = new ReadableStream({ cancel: () => void (isCancelled = true) });
    const reading = readAnswer(new Response(body), {}, controller.signal);
    controller.abort(new Error("over"));
    await assert.rejects(reading, { message: "over" });
    assert(isCancelled);
  });

  it("does not wait for a body if its signal has been aborted before", async () => {
    let isCancelled = false;
    const body = new ReadableStream({ cancel: () => void (isCancelled = true) });
    const reading = readAnswer(new Response(body), {}, AbortSignal.abort(new Error("over")));
    await assert.rejects(reading, { message: "over" });
    assert(isCancelled);
  });

  it("refuses limits below 1", async () => {
    for (const limits of [{ answerBytes: NaN }, { answerContainers: 0 }]) {
      await assert.rejects(json("1", limits), { name: "TypeError", message: /^cannot read an answer with answer/ });
    }
  });
});
