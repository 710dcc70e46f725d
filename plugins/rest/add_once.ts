/** Adds entities of CRM and shop that a repeated call finds again: by a key in their field for the ID in another system. */
import { isMap, unexpected } from "./answers.ts";
import type { B24AddOnceOptions, B24Options } from "./options.ts";

type Fields = Readonly<Record<string, unknown>>;

/** The filter that finds an entity again. */
interface Findable {
  /** Field for the ID in another system. */
  readonly field: string;
  /** The method that lists the entities. */
  readonly list: string;
  /** Parameters of `list` besides the filter by `field`. */
  readonly listParams: (
    fields: Fields,
    params: Fields,
  ) => { readonly filter?: Fields; readonly [name: string]: unknown };
  /** Key of the rows in the result of `list`; absent: the result itself. */
  readonly rows?: string;
  /** Returns the result of the method that adds, of a row of `list`. */
  readonly resultOf: (row: Fields) => unknown;
}

/** Methods whose result is the ID of what they have added. */
function byOldMethod(entity: string, field: string): [method: string, findable: Findable] {
  return [`crm.${entity}.add`, {
    ...{ field, list: `crm.${entity}.list` },
    listParams: () => ({ order: { ID: "ASC" }, select: ["ID"], start: -1 }),
    resultOf: ({ ID }) => Number(ID),
  }];
}

function byItemMethod(field: string): Findable {
  return {
    ...{ field, list: "crm.item.list", rows: "items" },
    listParams: (_fields, { entityTypeId }) => ({ entityTypeId, order: { id: "ASC" }, start: -1 }),
    resultOf: (item) => ({ item }),
  };
}

/** By the name of the method in lower case. `crm.item.add` depends on the type of the item. */
const FINDABLE: ReadonlyMap<string, Findable> = new Map<string, Findable>([
  ...["lead", "deal", "contact", "company", "activity"].map((entity) => byOldMethod(entity, "ORIGIN_ID")),
  byOldMethod("product", "XML_ID"),
  ["catalog.product.add", {
    ...{ field: "xmlId", list: "catalog.product.list", rows: "products" },
    listParams: ({ iblockId }) => ({ filter: { iblockId }, order: { id: "ASC" }, select: ["id", "iblockId", "*"] }),
    resultOf: (element) => ({ element }),
  }],
  ["sale.order.add", {
    ...{ field: "xmlId", list: "sale.order.list", rows: "orders" },
    listParams: () => ({ order: { id: "ASC" } }),
    resultOf: (order) => ({ order }),
  }],
]);

/** Lead, deal, contact and company. */
const ITEMS_WITH_ORIGIN = [1, 2, 3, 4];
const INVOICE = 31;
/** The lowest type of smart processes. */
const SMART_PROCESS = 128;

/** Calls a method, and resolves to its result. */
type CallMethod = (method: string, params: object, options: B24Options) => Promise<unknown>;

/**
 * Returns what `method` has added with this key, or calls it.
 *
 * @throws {TypeError} if what the method adds cannot be found again, or `fields` are invalid
 */
export async function addOnce(
  call: CallMethod,
  method: string,
  params: object,
  { key, ...options }: B24AddOnceOptions,
): Promise<unknown> {
  const findable = findableOf(method, params as Fields);
  const { field, list, listParams, rows, resultOf } = findable;
  const fields = fieldsOf(method, params as Fields, field);
  const { filter, ...others } = listParams(fields, params as Fields);
  const listed = await call(list, { ...others, filter: { ...filter, [`=${field}`]: key } }, options);
  const found = rows === undefined ? listed : isMap(listed) ? listed[rows] : undefined;
  if (!Array.isArray(found)) throw unexpected({ method: list, status: 200 }, "no list of rows is in the result");
  if (isMap(found[0])) return resultOf(found[0]);
  return await call(method, { ...params, fields: { ...fields, [field]: key } }, options);
}

function findableOf(method: string, { entityTypeId }: Fields): Findable {
  const name = method.toLowerCase();
  if (name === "crm.item.add") {
    const type = Number(entityTypeId);
    if (ITEMS_WITH_ORIGIN.includes(type)) return byItemMethod("originId");
    if (type === INVOICE || type >= SMART_PROCESS) return byItemMethod("xmlId");
    throw new TypeError(
      `cannot add an item of type ${JSON.stringify(entityTypeId)} once: it has no field by which it is found again, ` +
        "wanted an entityTypeId of 1, 2, 3, 4, 31, or 128 and more",
    );
  }
  const findable = FINDABLE.get(name);
  if (findable !== undefined) return findable;
  const methods = ["crm.item.add", ...FINDABLE.keys()].join(", ");
  throw new TypeError(`cannot call ${JSON.stringify(method)} once: what it adds is not found again, wanted ${methods}`);
}

/** Returns the parameter `fields`, in which the caller leaves out the one for the key. */
function fieldsOf(method: string, { fields }: Fields, field: string): Fields {
  if (!isMap(fields)) {
    throw new TypeError(`cannot call ${method} once: params.fields is ${typeof fields}, wanted an object`);
  }
  if (fields[field] === undefined) return fields;
  throw new TypeError(`cannot call ${method} once: params.fields has ${field}, which is where the key is written`);
}
