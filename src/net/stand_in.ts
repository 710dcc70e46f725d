/** Requests of an app to a stand-in for Bitrix24, which one address of this machine serves for all of Bitrix24's hosts. */

/** Header with the URL of the original request. */
export const ADDRESS = "x-fake-bitrix24-address";
/** Header with the `client_id` of the app, encoded as in a URL: `app.info` has no parameter for it. */
export const CLIENT_ID = "x-fake-bitrix24-client-id";
/** Header of an answer that stands for a broken connection. Some clients would repeat requests of one that really breaks. */
export const BROKEN = "x-fake-bitrix24-broken";

/** Sends a request to the stand-in at `url` by `fetch`. Redirects are not followed. */
export async function forwardTo(
  url: string,
  request: Request,
  fetch: typeof globalThis.fetch,
  clientId?: string,
): Promise<Response> {
  const headers = new Headers(request.headers);
  headers.set(ADDRESS, request.url);
  if (clientId !== undefined) headers.set(CLIENT_ID, encodeURIComponent(clientId));
  const response = await fetch(url, {
    method: request.method,
    headers,
    redirect: "manual",
    signal: request.signal,
    ...(request.body === null ? {} : { body: await request.arrayBuffer() }),
  });
  if (!response.headers.has(BROKEN)) return response;
  await response.body?.cancel();
  throw new TypeError(`fetch failed: ${new URL(request.url).host} does not answer`);
}

/**
 * Returns a `fetch` that sends requests of the app `clientId` to the stand-in at `url`. `isBitrix24` returns whether a request is
 * for Bitrix24; all others go out as usual. No redirect leads out of the stand-in: an answer that is one is returned as it is.
 */
export function standInFetch(
  url: string,
  isBitrix24: (address: URL) => boolean,
  fetch: typeof globalThis.fetch,
  clientId?: string,
): typeof globalThis.fetch {
  return async (input, init) => {
    const address = new URL(input instanceof Request ? input.url : String(input));
    if (!isBitrix24(address)) return await fetch(input, init);
    const request = new Request(input, init);
    const response = await forwardTo(url, request, fetch, clientId);
    if (request.redirect === "error" && response.status >= 300 && response.status < 400) {
      await response.body?.cancel();
      throw new TypeError("fetch failed: unexpected redirect");
    }
    return response;
  };
}

const LOOPBACK: ReadonlySet<string> = new Set(["127.0.0.1", "localhost", "[::1]"]);

/** Whether `text` is the address of a stand-in: http, on this machine, and nothing after its path. */
export function isStandInUrl(text: string): boolean {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  return url?.protocol === "http:" && LOOPBACK.has(url.hostname) && url.username === "" && url.password === "" &&
    !/[?#\s\\]/.test(text);
}
