/** Compares a portal's registrations with the declaration, and applies the difference. */
import { B24Error, type Logger, NonRetriableError, type OnAppUpdateError, type Portal } from "../../mod.ts";
import { applyChanges } from "./applying.ts";
import type { HasB24Batch } from "./batch.ts";
import { compare, type Comparison, type PlannedChange, type RegistrationChange } from "./changes.ts";
import type { Declaration } from "./declaration.ts";
import { hideUrlSecrets } from "./redaction.ts";
import { assertDeclaration } from "./rules.ts";

type Declare = Declaration | ((version: string, portal: Portal) => Declaration);

interface Target {
  readonly b24: HasB24Batch["b24"];
  readonly portal: Portal;
}

/** Compares and applies the registrations of portals. */
export interface Reconciler {
  readonly plan: (target: Target) => Promise<readonly RegistrationChange[]>;
  readonly apply: (target: Target, log?: Logger) => Promise<readonly RegistrationChange[]>;
  /** Resolves to the problems, for people. */
  readonly check: (target: Target, log: Logger, repair: boolean) => Promise<readonly string[]>;
}

/** @throws {TypeError} if the declaration is invalid */
export function createReconciler(declare: Declare): Reconciler {
  if (typeof declare !== "function") assertDeclaration(declare);

  /** `isRun`: plans updates of registrations whose changes cannot be detected. */
  async function compareTarget({ b24, portal }: Target, isRun: boolean): Promise<Comparison> {
    const current = declarationFor(declare, portal.target ?? portal.version, portal);
    return await compare(b24, current, () => declarationFor(declare, portal.version, portal), isRun);
  }

  return {
    plan: async (target) => {
      const { planned, errors } = await compareTarget(target, true);
      if (errors[0] !== undefined) throw errors[0];
      return planned.map(({ change }) => change);
    },
    apply: async (target, log) => {
      const { planned, errors: listErrors, unsupported } = await compareTarget(target, true);
      const refusals = await applyChanges(target.b24, planned);
      const changes = planned.map(({ change }) => change);
      if (unsupported.length > 0) {
        log?.warn("registrations not supported by the portal", { event: "registrations.unsupported", unsupported });
      }
      const errors = [...listErrors, ...refusals.map(({ error }) => error)];
      const worst = worstOf(errors);
      if (worst !== undefined) {
        const refused = errors.map(({ message }) => hideUrlSecrets(message));
        log?.warn("registrations refused", { event: "registrations.refused", ...countActions(changes), refused });
        throw worst;
      }
      log?.info("registrations applied", { event: "registrations.applied", ...countActions(changes) });
      return changes;
    },
    check: async (target, log, repair) => {
      const { planned, errors, unsupported } = await compareTarget(target, false);
      const drift = planned.filter(({ change }) => change.action !== "keep");
      const refusals = repair ? await applyChanges(target.b24, drift) : [];
      const refused = new Set(refusals.map(({ planned }) => planned));
      if (drift.length > 0) {
        const repaired = repair && refused.size === 0;
        const actions = countActions(drift.map(({ change }) => change));
        log.warn("registrations differ from the declaration", { event: "registrations.drifted", repaired, ...actions });
      }
      return [
        ...drift.map((planned) => describeDrift(planned, repair && !refused.has(planned))),
        ...[...errors, ...refusals.map(({ error }) => error)].map(({ message }) => hideUrlSecrets(message)),
        ...unsupported,
      ];
    },
  };
}

function declarationFor(declare: Declare, version: string | undefined, portal: Portal): Declaration {
  if (typeof declare !== "function") return declare;
  try {
    const declaration = declare(version ?? "", portal);
    assertDeclaration(declaration);
    return declaration;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
    // A retry has the same result: an operator has to see it.
    throw new NonRetriableError(error.message, { cause: error });
  }
}

/** Returns the first error that does not only block the portal, otherwise the first error. */
function worstOf(errors: readonly OnAppUpdateError[]): OnAppUpdateError | undefined {
  return errors.find((error) => !(error instanceof B24Error) || error.blockedOn === undefined) ?? errors[0];
}

function describeDrift({ change: { kind, id, why } }: PlannedChange, isRepaired: boolean): string {
  return `${kind} ${id}: ${why}${isRepaired ? "; repaired" : ""}`;
}

function countActions(changes: readonly RegistrationChange[]): Readonly<Record<string, number>> {
  const counts: Record<string, number> = {};
  for (const { action } of changes) counts[action] = (counts[action] ?? 0) + 1;
  return counts;
}
