/** The maximum size of a body, so that the storage can take every event that the app accepts. */
import type { StorageCapabilities } from "../storage/storage.ts";

/** The default of `limits.bodyBytes`. A message to a bot can have 123 KB. */
const DEFAULT_BODY_BYTES = 2 ** 20;

/** JSON escapes can double a body, and what is stored beside it takes the other tenth. */
const BODY_SHARE = 0.45;

/** `limits.bodyBytes` as it applies. */
export interface BodyLimit {
  readonly bodyBytes: number;
  /** The option, if the storage takes less; absent otherwise. */
  readonly loweredFrom?: number;
}

/** Returns the limit for a storage: the option or its default, or what the storage can take if that is less. */
export function bodyLimit({ maxValueBytes = Infinity }: StorageCapabilities, option?: number): BodyLimit {
  const wanted = option ?? DEFAULT_BODY_BYTES;
  const bodyBytes = Math.min(wanted, Math.max(1, Math.floor(maxValueBytes * BODY_SHARE)));
  return option !== undefined && bodyBytes < option ? { bodyBytes, loweredFrom: option } : { bodyBytes };
}
