/** The web page of a stand-in: portals, what happened, and buttons for its commands. */
import { STAND_IN_COMMANDS } from "./commands.ts";
import { Html, markup, NONE } from "./html.ts";
import { timeOf } from "./lines.ts";
import { maskTokens } from "./mask.ts";
import { SCRIPT, STYLE } from "./page_assets.ts";
import type { StandIn } from "./stand_in.ts";
import { type CallEntry, type Entry, fieldsOf, type SentEntry } from "./transcript.ts";

/** Returns the whole page. */
export function standInPage(standIn: StandIn, environment: readonly string[], nonce: string): string {
  return markup`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width, initial-scale=1">
        <title>Stand-in for Bitrix24</title>
        <style nonce="${nonce}">${new Html(STYLE)}</style>
      </head>
      <body>
        <header>
          <h1>Stand-in for Bitrix24</h1>
          <dl>
            <div>
              <dt>Events go to</dt>
              <dd><code>${standIn.events}</code></dd>
            </div>
            <div>
              <dt>Openings go to</dt>
              <dd><code>${standIn.page}</code></dd>
            </div>
            <div>
              <dt>Environment of the app</dt>
              <dd>
                <pre>${environment.join("\n")}</pre>
              </dd>
            </div>
          </dl>
        </header>
        <nav aria-label="Commands">${buttons()}</nav>
        <main id="live">${liveParts(standIn)}</main>
        <script nonce="${nonce}">${new Html(SCRIPT)}</script>
      </body>
    </html>
  `.text.trim();
}

/** Returns the part of the page that changes. */
export function liveFragment(standIn: StandIn): string {
  return liveParts(standIn).text;
}

/** Returns the page that opens the app's page in the browser, by a form as Bitrix24 has it. */
export function openingForm(url: string, body: string, nonce: string): string {
  const fields = [...new URLSearchParams(body)].map(([name, value]) =>
    markup`<input type="hidden" name="${name}" value="${value}">`
  );
  return markup`
    <!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8">
        <title>Opening the app</title>
      </head>
      <body>
        <form method="post" action="${url}">${fields}<button>Open the app</button></form>
        <script nonce="${nonce}">document.forms[0].submit();</script>
      </body>
    </html>
  `.text.trim();
}

/** The commands of the buttons, by heading. Only the usual arguments have a button. */
const BUTTONS: readonly (readonly [heading: string, lines: readonly string[]])[] = [
  ["Life cycle", [
    "install",
    "install --wizard",
    "finish",
    "update",
    "update --token",
    "uninstall",
    "uninstall --keep",
  ]],
  ["Page", ["open admin", "open user"]],
  ["Next event", ["duplicate", "reorder", "lose"]],
  ["Forgeries", ["forge token", "forge member", "forge endpoint", "forge domain"]],
  ["Trouble", ["oauth down", "oauth hanging", "oauth up", "slow 2000", "slow off", "payment off", "payment on"]],
  ["Portal", ["rename", "expire", "portal"]],
];

const LABELS = new Map([["portal", "new portal"]]);

function buttons(): Html {
  const groups = BUTTONS.map(([heading, lines]) => {
    const tabs = heading === "Page" ? TABS : NONE;
    return markup`<fieldset><legend>${heading}</legend>${
      lines.map((line) => commandButton(line, LABELS.get(line)))
    }${tabs}</fieldset>`;
  });
  const known = STAND_IN_COMMANDS.map(({ name, usage, help }) =>
    markup`<dt><code>${`${name} ${usage}`.trim()}</code></dt><dd>${help}</dd>`
  );
  return markup`
    <form id="run" method="post" action="run"></form>
    <form id="tab" method="post" action="open" target="_blank"></form>
    <form method="post" action="run" class="line">
      <label for="command">Command</label>
      <input id="command" name="command" placeholder="update 3" autocomplete="off" required>
      <button>Run</button>
    </form>
    ${groups}
    <details>
      <summary>All commands</summary>
      <dl class="help">${known}</dl>
    </details>
  `;
}

/** Buttons that open the app's page in a tab of the browser. */
const TABS = markup`<button form="tab" name="who" value="admin">as admin, in a tab</button>
<button form="tab" name="who" value="user">as user, in a tab</button>`;

function commandButton(line: string, label: string = line): Html {
  return markup`<button form="run" name="command" value="${line}">${label}</button>`;
}

function liveParts(standIn: StandIn): Html {
  const { outage, slowMs, next } = standIn.state();
  const unusual = [
    ...(outage === undefined ? [] : [`OAuth hosts: ${outage}`]),
    ...(slowMs === 0 ? [] : [`answers take ${slowMs} ms`]),
    ...(Object.keys(next).length === 0 ? [] : [`next event: ${Object.keys(next).join(", ")}`]),
  ];
  const entries = standIn.transcript.entries().toReversed();
  return markup`<section aria-label="Portals" class="portals"><table>
<thead><tr><th>Portal</th><th>Version</th><th>State</th><th>Scopes</th><th>member_id</th><th></th></tr></thead>
<tbody>${portalRows(standIn)}</tbody>
</table>${unusual.map((text) => markup`<p class="unusual">${text}</p>`)}</section>
<section aria-label="Events and calls"><ol class="entries" reversed>${entries.map(entryItem)}</ol>${
    entries.length === 0 ? markup`<p>Nothing has happened yet.</p>` : NONE
  }</section>`;
}

function portalRows(standIn: StandIn): Html[] {
  const selected = standIn.selected();
  return standIn.portals().map((portal) => {
    const { version, finished, paid, scope } = portal.state();
    const state = version === undefined
      ? "not installed"
      : !finished
      ? "installation not finished"
      : paid
      ? "installed"
      : "not paid";
    const choice = portal === selected
      ? markup`<strong>selected</strong>`
      : commandButton(`portal ${portal.domain}`, "select");
    return markup`
      <tr>
        <td>${portal.domain}</td>
        <td>${version ?? "–"}</td>
        <td>${state}</td>
        <td>${scope.join(", ")}</td>
        <td><code>${portal.memberId}</code></td>
        <td>${choice}</td>
      </tr>
    `;
  });
}

function entryItem(entry: Entry): Html {
  const time = markup`<time>${timeOf(entry.at)}</time>`;
  if (entry.kind === "note") return markup`<li class="note">${time} ${entry.text}</li>`;
  return entry.kind === "call" ? callItem(entry, time) : sentItem(entry, time);
}

function sentItem(entry: SentEntry & { readonly id: number }, time: Html): Html {
  const { id, name, detail = "", domain, outcome, status = 0, ms = 0, remark, answer = "", url, body } = entry;
  const isGood = outcome === "answered" && status < 400;
  const [style, how] = outcome === undefined
    ? ["pending", "on its way"]
    : outcome === "withheld"
    ? ["warn", "not sent"]
    : outcome === "failed"
    ? ["bad", "no answer"]
    : [isGood ? "good" : "bad", `${status} in ${ms} ms`];
  const fields = fieldsOf(body).map(([name, value]) =>
    markup`
      <tr>
        <th scope="row">${name}</th>
        <td>${value}</td>
      </tr>
    `
  );
  const replay = body === "" ? NONE : commandButton(`replay ${id}`, "Replay");
  const suffix = remark === undefined ? NONE : markup` <span class="warn">${remark}</span>`;
  const head = markup`${time} <span class="arrow">→</span> <b>${`${name} ${detail}`.trim()}</b> <span>${domain}</span>
<span class="${style}">${how}</span> <span class="quiet">#${id}</span>${suffix}`;
  if (body === "") return markup`<li class="sent">${head}</li>`;
  return markup`
    <li class="sent">
      <details id="entry-${id}">
        <summary>${head}</summary>
        ${replay}
        <h3>Answer</h3>
        <pre>${answer || "(empty)"}</pre>
        <h3>Body, posted to <code>${maskTokens(url)}</code></h3>
        <table>${fields}</table>
      </details>
    </li>
  `;
}

function callItem(
  { id, method, host, status, error, ms, params, commands = [] }: CallEntry & { readonly id: number },
  time: Html,
): Html {
  const isGood = status !== undefined && status < 400 && error === undefined;
  const how = [status, error, `in ${ms} ms`].filter((part) => part !== undefined).join(" ");
  const listed = commands.length === 0 ? NONE : markup`<h3>Commands</h3><pre>${commands.join("\n")}</pre>`;
  return markup`
    <li class="call">
      <details id="entry-${id}">
        <summary>${time} <span class="arrow">←</span> ${method} <span>${host}</span>
          <span class="${isGood ? "good" : "bad"}">${how}</span></summary>
        <h3>Parameters</h3>
        <pre>${params}</pre>
        ${listed}
      </details>
    </li>
  `;
}
