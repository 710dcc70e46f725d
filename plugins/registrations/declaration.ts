/** What an app may declare. */

/** A handler of an event: `event.bind`. Known by event, handler and `userId`; one that is offline by its event alone. */
export interface EventRegistration {
  /** Such as `ONCRMDEALADD`. */
  readonly event: string;
  /** Where it is sent; absent with `offline` alone. */
  readonly handler?: string;
  /** As whose the event's tokens are sent (`auth_type`); default of whoever caused the event, and bound for whomever. */
  readonly userId?: number;
  /** It is kept in a queue on the portal instead of being sent. */
  readonly offline?: boolean;
  /** More parameters of `event.bind`, in Bitrix24's own names, which are in lower case here. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A place in the portal's pages: `placement.bind`. Known by placement, handler and `userId`. */
export interface PlacementRegistration {
  /** Such as `CRM_DEAL_DETAIL_TAB`. */
  readonly placement: string;
  /** The page that is shown there. */
  readonly handler: string;
  /** What the tab, button or menu item is called. */
  readonly title?: string;
  /** For people. */
  readonly description?: string;
  /** For this user alone. */
  readonly userId?: number;
  /** `GROUP_NAME`, `LANG_ALL`, `OPTIONS`, `ICON`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A robot or an activity of business processes: `bizproc.robot.add`, `bizproc.activity.add`. Known by `code`. */
export interface RobotRegistration {
  /** Never change it: robots in the customer's templates are known by it. */
  readonly code: string;
  /** Where it is called. */
  readonly handler: string;
  /** One for all languages, or by language. */
  readonly name: string | Readonly<Record<string, string>>;
  /** As whose the call's tokens are sent. */
  readonly userId?: number;
  /** `PROPERTIES`, `RETURN_PROPERTIES`, `USE_SUBSCRIPTION` and the like, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A provider of text messages: `messageservice.sender.add`. Known by `code`. */
export interface MessageSenderRegistration {
  /** Never change it. */
  readonly code: string;
  /** Where it is called. */
  readonly handler: string;
  /** For people. */
  readonly name: string;
  /** For people. */
  readonly description?: string;
}

/** A type of user fields: `userfieldtype.add`. Known by `type`. */
export interface UserFieldTypeRegistration {
  /** `USER_TYPE_ID`, in lower case. Never change it: fields of this type are known by it. */
  readonly type: string;
  /** The page that shows a field; each type needs its own. */
  readonly handler: string;
  /** For people. */
  readonly title: string;
  /** For people. */
  readonly description?: string;
  /** `OPTIONS`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A connector of open channels: `imconnector.register`. Known by `id`. */
export interface ConnectorRegistration {
  /** Never change it. */
  readonly id: string;
  /** For people. */
  readonly name: string;
  /** `ICON`, in Bitrix24's own names: `DATA_IMAGE` and more. */
  readonly icon: Readonly<Record<string, unknown>>;
  /** The page of its settings. */
  readonly handler: string;
  /** More parameters of `imconnector.register`, in Bitrix24's own names. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A trigger of CRM automation: `crm.automation.trigger.add`. Known by `code`. */
export interface TriggerRegistration {
  /** Never change it: the customer's automation rules know it. */
  readonly code: string;
  /** For people. */
  readonly name: string;
}

/** All that an app registers. A kind that is left out is left alone; an empty list removes all of its kind. */
export interface Declaration {
  /** Event handlers. */
  readonly events?: readonly EventRegistration[];
  /** Placements. */
  readonly placements?: readonly PlacementRegistration[];
  /** Robots of business processes. */
  readonly robots?: readonly RobotRegistration[];
  /** Activities of business processes. */
  readonly activities?: readonly RobotRegistration[];
  /** Providers of text messages. */
  readonly messageSenders?: readonly MessageSenderRegistration[];
  /** Types of user fields. */
  readonly userFieldTypes?: readonly UserFieldTypeRegistration[];
  /** Connectors of open channels. */
  readonly connectors?: readonly ConnectorRegistration[];
  /** Triggers of CRM automation. */
  readonly triggers?: readonly TriggerRegistration[];
}
