/** Routes that export lists. Each export is recorded in the audit log before its first line. */
import type { AuditEntry, Portal, PortalFilter, PortalMatch } from "../../mod.ts";
import { AUDIT_MATCH, type AuditMatch, MATCH, REASON } from "./parameters.ts";
import { type Cell, type ExportFormat, exportResponse, FORMATS, pagesOf, timeCell } from "./export.ts";
import { type Call, type Route, route } from "./route.ts";
import type { ObjectSchema } from "./schema.ts";
import { AUDIT_ENTRY } from "./app_shapes.ts";
import { PORTAL } from "./portal_shapes.ts";
import { flag } from "./values.ts";

interface ExportQuery {
  readonly format: ExportFormat;
  readonly reason?: string;
}

function exportQuery(filter: ObjectSchema): ObjectSchema {
  const format = { type: "string", enum: Object.keys(FORMATS), description: "CSV, or JSON lines" } as const;
  return { type: "object", properties: { format, reason: REASON, ...filter.properties }, required: ["format"] };
}

/** Records an export, and returns its filter. */
async function note<Filter extends object>(
  { admin, query, attribution }: Call<ExportQuery & Filter>,
  list: string,
): Promise<Filter> {
  const { format, reason: _, ...filter } = query;
  await admin.noteAction({ ...attribution, action: "export", details: { list, format, filter } });
  // The rest of the query is the filter.
  return filter as unknown as Filter;
}

/**
 * Number of exports of a token in an hour: each is an entry of the audit log, which one that may only read must not be able to
 * fill.
 */
const MAX_PER_HOUR = 30;

/** Number of items that are read at a time. */
const PAGE = 200;

/** A portal, or only the member_id of one that cannot be read: it must not be missing. */
type ExportedPortal = Partial<Portal> & Pick<Portal, "memberId"> & { readonly isUnreadable?: boolean };

const EXPORTED_PORTAL: ObjectSchema = {
  type: "object",
  properties: { ...PORTAL.properties, isUnreadable: flag },
  required: ["memberId"],
};

async function exportedPage(
  { admin }: Pick<Call, "admin">,
  filter: PortalFilter,
): Promise<{ readonly items: readonly ExportedPortal[]; readonly next?: string }> {
  const { items, unreadable = [], next } = await admin.portals(filter);
  const others = unreadable.map((memberId) => ({ memberId, isUnreadable: true }));
  return { items: [...items, ...others], ...(next !== undefined && { next }) };
}

const PORTAL_COLUMNS: Readonly<Record<string, (portal: ExportedPortal) => Cell>> = {
  member_id: ({ memberId }) => memberId,
  domain: ({ domain }) => domain,
  state: ({ state, isUnreadable }) => isUnreadable ? "unreadable" : state,
  version: ({ version }) => version,
  target: ({ target }) => target,
  generation: ({ generation }) => generation,
  blocked_on: ({ blocked }) => blocked?.on,
  blocked_since: ({ blocked }) => timeCell(blocked?.since),
  blocked_message: ({ blocked }) => blocked?.message,
  failed_upgrade: ({ failure }) => failure?.upgradeId,
  failed_step: ({ failure }) => failure?.step,
  failed_at: ({ failure }) => timeCell(failure?.at),
  attempts: ({ failure }) => failure?.attempts,
  fingerprint: ({ failure }) => failure?.fingerprint,
  failure_message: ({ failure }) => failure?.message,
};

const AUDIT_COLUMNS: Readonly<Record<string, (entry: AuditEntry) => Cell>> = {
  id: ({ id }) => id,
  at: ({ at }) => timeCell(at),
  finished_at: ({ finishedAt }) => timeCell(finishedAt),
  action: ({ action }) => action,
  by: ({ by }) => by,
  reason: ({ reason }) => reason,
  member_id: ({ memberId }) => memberId,
  batch_id: ({ batchId }) => batchId,
  outcome: ({ outcome }) => outcome,
  error_code: ({ error }) => error?.code,
  error_message: ({ error }) => error?.message,
};

/** The routes. */
export const EXPORT_ROUTES: readonly Route[] = [
  route<ExportQuery & PortalMatch>({
    ...{ method: "GET", path: "/export/portals", id: "exportPortals", role: "read", maxPerHour: MAX_PER_HOUR },
    summary: "Streams all portals that match as CSV or JSON lines",
    query: exportQuery(MATCH),
    answer: { stream: FORMATS, item: EXPORTED_PORTAL },
    run: async (call) => {
      const filter = await note<PortalMatch>(call, "portals");
      const pages = pagesOf((after) =>
        exportedPage(call, { ...filter, limit: PAGE, ...(after !== undefined && { after }) })
      );
      const { query: { format }, reportFailure: onError } = call;
      return exportResponse({
        name: "portals",
        format,
        item: EXPORTED_PORTAL,
        columns: PORTAL_COLUMNS,
        pages,
        onError,
      });
    },
  }),
  route<ExportQuery & AuditMatch>({
    ...{ method: "GET", path: "/export/audit", id: "exportAudit", role: "read", maxPerHour: MAX_PER_HOUR },
    summary: "Streams the audit log as CSV or JSON lines, the latest entry first",
    query: exportQuery(AUDIT_MATCH),
    answer: { stream: FORMATS, item: AUDIT_ENTRY },
    run: async (call) => {
      const filter = await note<AuditMatch>(call, "audit");
      const pages = pagesOf((after) =>
        call.admin.audit({ ...filter, limit: PAGE, ...(after !== undefined && { after }) })
      );
      const { query: { format }, reportFailure: onError } = call;
      return exportResponse({ name: "audit", format, item: AUDIT_ENTRY, columns: AUDIT_COLUMNS, pages, onError });
    },
  }),
];
