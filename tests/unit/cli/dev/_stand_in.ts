/** A stand-in whose events a function receives. */
import { createStandIn, type StandIn, type StandInOptions } from "../../../../src/cli/dev/stand_in.ts";

export interface Received {
  readonly url: string;
  readonly form: URLSearchParams;
}

/** Creates a stand-in. `answer` stands for the app; without it, the app answers 200. */
export function standInWith(
  answer: (request: Received) => Response | Promise<Response> = () => new Response("ok"),
  options: Partial<StandInOptions> = {},
): { readonly standIn: StandIn; readonly received: Received[] } {
  const received: Received[] = [];
  const standIn = createStandIn({
    clientId: "app.dev",
    events: "http://127.0.0.1:8000/events",
    page: "http://127.0.0.1:8000/page",
    fetch: async (input, init) => {
      const { url, body } = { url: String(input), body: String(init?.body) };
      const request = { url, form: new URLSearchParams(body) };
      received.push(request);
      return await answer(request);
    },
    ...options,
  });
  return { standIn, received };
}

/** Calls the stand-in as an app does, with the access token of an event. */
export function call(standIn: StandIn, { form }: Received, address: string): Promise<Response> {
  const token = form.get("auth[access_token]") ?? "";
  return standIn.answer(new Request(address, { method: "POST", body: new URLSearchParams({ auth: token }) }));
}
