/** The common parts of the modules that answer the requests of a rehearsal. */
import { answerToWrite } from "../../bitrix24/rest_methods.ts";
import type { NewWrite, Recorder } from "./recorder.ts";
import type { Tape } from "./recording.ts";

/** The parameters of a call, or another JSON object. */
export type Params = Readonly<Record<string, unknown>>;

/** The parts of a rehearsal that answer requests. */
export interface AnswerParts {
  readonly recorder: Recorder;
  readonly tape: Tape;
}

/** The answer to a read. */
export interface ReadAnswer {
  readonly response: Response;
  /** The parsed answer; `undefined` if it is not a JSON object, or too large. */
  readonly json: Params | undefined;
  /** The caller repeats the request after this answer, or fails with it: it is neither counted nor recorded. */
  readonly isRefused: boolean;
}

/** Returns the write that a call would make, with the answer to it. */
export function writeOf(recorder: Recorder, method: string, params: Params): NewWrite {
  return { method, params, ...answerToWrite(method, params, recorder.nextId) };
}

/** Returns the `time` of an answer that no portal has sent. */
export function noTime(): object {
  const date = new Date(0).toISOString();
  return {
    ...{ start: 0, finish: 0, duration: 0, processing: 0, operating: 0 },
    ...{ date_start: date, date_finish: date },
  };
}
