/** Calls of apps, as the fake Bitrix24 records them. */
import { Refusal, refused } from "./errors.ts";
import type { FakeCall } from "./state.ts";

/** A call whose answer is not known yet. */
export type RecordedCall = { -readonly [Key in keyof FakeCall]: FakeCall[Key] };

/** Resolves to the answer of `answer`, or to `refusalOf` its refusal, and records the outcome with the call. */
export async function recordedAnswer(
  call: RecordedCall,
  answer: () => Promise<Response>,
  refusalOf: (refusal: Refusal) => Response = refused,
): Promise<Response> {
  try {
    const response = await answer();
    call.status = response.status;
    return response;
  } catch (error) {
    if (!(error instanceof Refusal)) throw error;
    Object.assign(call, { status: error.status, error: error.code });
    return refusalOf(error);
  }
}
