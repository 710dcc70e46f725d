/** HTML of the console. `html` escapes every value that is no HTML itself. */
import { html, raw } from "hono/html";

export { html, raw };

/** HTML, as `html` returns it. */
export type Html = ReturnType<typeof html>;
