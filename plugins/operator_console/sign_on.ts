/** The guard of one's own single sign-on. */
import { ApiError } from "../operator_api/api_error.ts";
import { type Guard, operatorOf, type SignOn } from "./guard.ts";

/** Returns the guard of a single sign-on. */
export function createSignOn(signOn: SignOn): Guard {
  return {
    canLogOut: false,
    identify: async ({ request, platform }) => {
      const operator = operatorOf(await signOn(request, ...platform));
      return operator && { operator };
    },
    answer: () => Promise.resolve(undefined),
    signIn: () => Promise.reject(new ApiError(403, { code: "sign_on", message: "" })),
  };
}
