/** All pages, in the order of the navigation. A new page is a row here. */
import type { AnyPage } from "./page.ts";
import { OVERVIEW } from "./pages/overview.ts";

export const PAGES: readonly AnyPage[] = [OVERVIEW];
