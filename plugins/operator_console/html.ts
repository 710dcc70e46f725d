/** HTML of the console. */
import { html, raw } from "hono/html";

/**
 * Makes HTML, and escapes every value that is no HTML itself. Not called `html`: the formatter adds white space to templates of
 * that name, which is visible between words and buttons.
 */
export const markup = html;

export { raw };

/** HTML, as {@linkcode markup} returns it. */
export type Html = ReturnType<typeof markup>;
