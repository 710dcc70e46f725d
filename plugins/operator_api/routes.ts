/** All routes of the operator API, in the order of its document. A new route is a row in one of these tables. */
import { ADOPT_ROUTES } from "./adopt_route.ts";
import { APP_ROUTES } from "./app_routes.ts";
import { EXPORT_ROUTES } from "./export_routes.ts";
import { PORTAL_ROUTES } from "./portal_routes.ts";
import { ROLLOUT_ROUTES } from "./rollout_routes.ts";
import type { Route } from "./route.ts";
import { SILENCE_ROUTES } from "./silence_routes.ts";

export const ROUTES: readonly Route[] = [
  ...PORTAL_ROUTES,
  ...APP_ROUTES,
  ...ROLLOUT_ROUTES,
  ...SILENCE_ROUTES,
  ...ADOPT_ROUTES,
  ...EXPORT_ROUTES,
];
