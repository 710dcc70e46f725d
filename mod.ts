/**
 * Middleware for vendors of Bitrix24 apps. It upgrades every customer's portal from its version of the app to its target
 * version.
 *
 * An app receives ONAPPUPDATE and the events around it, verifies them, stores them before it answers, and runs the upgrade
 * handlers whose version range a portal crosses: in order, and resumed after a crash. A finished upgrade never runs again
 * for its portal.
 *
 * Everything else about storages is in `@b24/onappupdate/storage`, and all errors are in `@b24/onappupdate/errors`.
 *
 * @example
 * ```ts
 * import { createApp, memoryStorage } from "@b24/onappupdate";
 * import { applicationToken } from "@b24/onappupdate/application-token";
 * import assert from "node:assert/strict";
 *
 * const app = createApp({ storage: memoryStorage(), clientId: "app.5f3a" })
 *   .use(applicationToken())
 *   .upgrade("2.0.0", ({ memberId, log }) => log.info("every portal that crosses 2.0.0", { memberId }))
 *   .upgrade(">=2.4.0 <3.0.0", ({ log }) => log.info("portals that leave 2.4.0 and later"));
 *
 * const plan = await app.plan({ from: "1", to: "3" });
 * assert.deepEqual(plan.upgrades.map(({ id }) => id), ["2.0.0"]);
 * await app.close();
 * ```
 *
 * @module
 */

// The app
export type { App, Fits, StoredPortal } from "./src/app/app.ts";
export { createApp } from "./src/app/create_app.ts";
export type { Opening, OpeningOptions, OpeningState } from "./src/app/openings.ts";
export type { PlanQuery } from "./src/app/plan.ts";
export type { Readiness } from "./src/app/readiness.ts";
export type { RehearsalOptions } from "./src/app/rehearse.ts";
export type { UpgradeStatus } from "./src/worker/upgrade_status.ts";
export type { AppOptions, Limits } from "./src/app/options.ts";
export type { Admin } from "./src/plugin/admin.ts";
export type { Pause, RegisteredUpgrade, RollbackReport, RolledBackStep } from "./src/plugin/admin_reports.ts";
export type { AppHealth } from "./src/plugin/app_health.ts";
export type {
  ActionNote,
  Attribution,
  AuditedAction,
  AuditEntry,
  AuditFilter,
  AuditPage,
  Batch,
  Batches,
  BatchListOptions,
  NewBatch,
  PortalFilter,
  PortalMatch,
  PortalPage,
  SnapshotFilter,
  StartedBatch,
  StuckFilter,
  StuckGroup,
  UnverifiedEvent,
  UnverifiedEvents,
  UnverifiedFilter,
  UnverifiedPage,
} from "./src/plugin/admin_pages.ts";
export type {
  AdoptionLine,
  AdoptionReason,
  AdoptionReport,
  AdoptOptions,
  PortalSource,
  PortalToAdopt,
} from "./src/plugin/adoption.ts";
export type { FinishedRun, PortalDelivery, PortalHistory, RecordedRun } from "./src/plugin/admin_history.ts";
export type { TickOptions, TickReport } from "./src/worker/tick.ts";

// Upgrades and versions
export type { UpgradeContext, UpgradeOptions, UpgradeRange } from "./src/upgrade/definition.ts";
export type { FailedAttempt } from "./src/portal/failed_attempts.ts";
export type { RecordedStep } from "./src/portal/run_steps.ts";
export type { PageResult, StepOptions, Steps, StepScope } from "./src/upgrade/steps.ts";
export { countCall } from "./src/upgrade/call_counts.ts";
export { currentStep } from "./src/upgrade/current_step.ts";
export type { RetryPolicy } from "./src/retry.ts";
export type { Plan, PlannedUpgrade } from "./src/upgrade/plan.ts";
export type {
  NotRehearsed,
  RecordedRead,
  RehearsalOutcome,
  RehearsalRecording,
  RehearsalReport,
  RehearsedCall,
  RehearsedStep,
  RehearsedTime,
  RehearsedUpgrade,
  RehearsedWrite,
} from "./src/upgrade/rehearsal/report.ts";
export { coerced, type CoercedOptions, deployed, mapped, type VersionScheme } from "./src/version.ts";

// Events
export { parseEvent } from "./src/bitrix24/parse.ts";
export type {
  B24Event,
  EventAuth,
  EventBase,
  EventNamed,
  Extra,
  ExtraValue,
  InstallEvent,
  KnownEvent,
  MethodConfirmEvent,
  PaymentEvent,
  TestEvent,
  UninstallEvent,
  UnknownEvent,
  UpdateEvent,
  UserReadyEvent,
} from "./src/bitrix24/events.ts";
export type { DecodeLimits, WireTree, WireValue } from "./src/bitrix24/tree.ts";
export { connectionAddress } from "./src/intake/client_address.ts";
export type { RequestLimits } from "./src/intake/http.ts";

// Plugins and handlers
export type { Context, HandlerContext, VerificationStage } from "./src/plugin/context.ts";
export type { Plugin, Verification } from "./src/plugin/plugin.ts";
export {
  type VerificationBudget,
  type VerificationPolicy,
  verificationRules,
} from "./src/plugin/verification_policy.ts";
export type { UnverifiedBounds } from "./src/portal/unverified_bounds.ts";
export type { HandlerOptions } from "./src/app/registry.ts";
export type { PluginHost } from "./src/plugin/host.ts";
export {
  currentRehearsal,
  type RehearsalScope,
  rehearsalSnapshot,
  type RehearsedChange,
} from "./src/plugin/rehearsal.ts";
export type { ForgottenPortal } from "./src/plugin/forgotten_portal.ts";
export { isReadMethod } from "./src/bitrix24/rest_methods.ts";
export type {
  DeadLetters,
  OutboxAdmin,
  OutboxContext,
  OutboxFilter,
  OutboxHandler,
  OutboxMessage,
  OutboxOptions,
  OutboxPage,
  OutboxResult,
  PluginOutbox,
} from "./src/plugin/outbox.ts";
export type { Diagnosis, Finding } from "./src/plugin/diagnosis.ts";
export type { NewSilence, Silence, SilenceMatch, Silences } from "./src/plugin/silences.ts";
export type {
  PauseWhen,
  RolloutAdmin,
  RolloutBreaker,
  RolloutChanges,
  RolloutFailure,
  RolloutOptions,
  RolloutStage,
  RolloutStageStatus,
  RolloutState,
  RolloutStatus,
  RolloutWait,
  RolloutWindow,
} from "./src/plugin/rollout.ts";
export type { StorageReport, TracedWork, Tracing, WorkEnd, WorkOutcome, WorkSpan } from "./src/plugin/tracing.ts";
export type { DurableReport, Observers, StepReport, UpgradeFailure, VersionChange } from "./src/plugin/observers.ts";
export type {
  ApplicationTokenDigests,
  AppliedUpgrade,
  FailedWith,
  Portal,
  PortalBlock,
  PortalFailure,
  PortalRun,
  PortalState,
  RunProgress,
} from "./src/portal/portal.ts";
export type { CountSnapshot } from "./src/portal/count_snapshots.ts";
export type { PortalCount } from "./src/portal/totals.ts";
export type { ClaimKind, PortalClaim } from "./src/portal/claims.ts";
export type { CheckFindings, CheckProblem } from "./src/portal/findings.ts";
export type { ConfirmMode } from "./src/portal/event_facts.ts";

// Credentials and checks of portals
export type {
  CredentialsOptions,
  PortalCallOptions,
  PortalCredentials,
  PortalCredentialsProvider,
} from "./src/credentials/contract.ts";
export type { AppInfo } from "./src/bitrix24/oauth_client.ts";
export { type AnswerLimits, type HostAnswer, readAnswer } from "./src/bitrix24/answer.ts";
export type { CheckPolicy } from "./src/worker/checks.ts";
export type { CheckReport } from "./src/worker/portal_check.ts";

// Storage
export { encrypted } from "./src/storage/encrypted.ts";
export { memoryStorage } from "./src/storage/memory.ts";
export type { Storage } from "./src/storage/storage.ts";

// Options of functions
export {
  checkOptions,
  type NumberRange,
  option,
  type OptionProblem,
  type OptionRule,
  type OptionRules,
} from "./src/check_options.ts";

// Secrets, logs, and the errors that handlers and plugins throw or catch
export { digestToken } from "./src/net/digest.ts";
export { Secret } from "./src/secret.ts";
export { redact } from "./src/redact.ts";
export {
  type BlockedReason,
  CannotVerifyError,
  NonRetriableError,
  NotAuthenticError,
  OnAppUpdateError,
  RetryAfterError,
} from "./src/errors.ts";
export { B24Error } from "./src/bitrix24/b24_error.ts";
export {
  consoleLogger,
  type ConsoleLoggerOptions,
  type FieldsFirstLogger,
  type LogFields,
  type Logger,
  pinoLogger,
} from "./src/logger.ts";
