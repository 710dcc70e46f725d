/** The declaration of an app's registrations. */

/**
 * An event handler: `event.bind`. Identified by event, handler and `userId`; offline events by the event and `authConnector`.
 */
export interface EventRegistration {
  /** Name of the event in upper case, such as `ONCRMDEALADD`. */
  readonly event: string;
  /** URL that receives the event. Required unless `offline`. */
  readonly handler?: string;
  /**
   * User whose tokens the event has (`auth_type`).
   *
   * @default the user who caused the event
   */
  readonly userId?: number;
  /**
   * Whether the event is queued on the portal instead of being sent.
   *
   * @default false
   */
  readonly offline?: boolean;
  /**
   * Source (`auth_connector`) whose own changes cause no event: calls with this `auth_connector`. Each source has a queue of
   * offline events of its own, so pass it to `event.offline.get` and the like too.
   *
   * @default no source: the event is queued or sent whatever has caused it
   */
  readonly authConnector?: string;
  /** Other parameters of `event.bind`, under Bitrix24's names in lower case. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A placement in the portal's pages: `placement.bind`. Identified by placement, handler and `userId`. */
export interface PlacementRegistration {
  /** Code of the placement in upper case, such as `CRM_DEAL_DETAIL_TAB`. */
  readonly placement: string;
  /** URL of the page that is shown. */
  readonly handler: string;
  /** Title of the tab, button or menu item. */
  readonly title?: string;
  /** Description for people. */
  readonly description?: string;
  /**
   * Shows the placement only to this user.
   *
   * @default all users
   */
  readonly userId?: number;
  /** Other parameters of `placement.bind`, such as `LANG_ALL` and `OPTIONS`, under Bitrix24's names in upper case. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A robot or an activity of business processes: `bizproc.robot.add`, `bizproc.activity.add`. Identified by `code`. */
export interface RobotRegistration {
  /** Never change it: it identifies the robot in the customer's templates. */
  readonly code: string;
  /** URL that is called. */
  readonly handler: string;
  /** One name for all languages, or names by language. */
  readonly name: string | Readonly<Record<string, string>>;
  /** User whose tokens the calls have. */
  readonly userId?: number;
  /** Other parameters, such as `PROPERTIES` and `RETURN_PROPERTIES`, under Bitrix24's names in upper case. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A provider of text messages: `messageservice.sender.add`. Identified by `code`. */
export interface MessageSenderRegistration {
  /** Never change it. */
  readonly code: string;
  /** URL that is called. */
  readonly handler: string;
  /** Name for people. */
  readonly name: string;
  /** Description for people. */
  readonly description?: string;
}

/** A type of user fields: `userfieldtype.add`. Identified by `type`. */
export interface UserFieldTypeRegistration {
  /** `USER_TYPE_ID`, in lower case. Never change it: it identifies fields of this type. */
  readonly type: string;
  /** URL of the page that shows a field. Each type needs its own. */
  readonly handler: string;
  /** Title for people. */
  readonly title: string;
  /** Description for people. */
  readonly description?: string;
  /** Other parameters, such as `OPTIONS`, under Bitrix24's names in upper case. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A connector of open channels: `imconnector.register`. Identified by `id`. */
export interface ConnectorRegistration {
  /** `ID`, in lower case, without dots. Never change it. */
  readonly id: string;
  /** Name for people. */
  readonly name: string;
  /** `ICON`, with Bitrix24's names of its fields, such as `DATA_IMAGE`. */
  readonly icon: Readonly<Record<string, unknown>>;
  /** URL of the settings page. */
  readonly handler: string;
  /** Other parameters of `imconnector.register`, under Bitrix24's names in upper case. */
  readonly params?: Readonly<Record<string, unknown>>;
}

/** A trigger of CRM automation: `crm.automation.trigger.add`. Identified by `code`. */
export interface TriggerRegistration {
  /** Never change it: it identifies the trigger in the customer's automation rules. */
  readonly code: string;
  /** Name for people. */
  readonly name: string;
}

/** The registrations of an app. A kind that is left out is not touched; an empty list removes all of its kind. */
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
