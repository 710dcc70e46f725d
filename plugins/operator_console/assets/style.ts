/** The style of the console. It is part of every page, and allowed by its hash. */

export const STYLE = `
:root { color-scheme: light dark; --ink: #1d2430; --soft: #566072; --line: #d9dee6; --paper: #fff; --back: #f5f7fa; --accent: #0b5cad; --bad: #a3261b; --warn: #8a5300; --good: #1b6b3a; }
@media (prefers-color-scheme: dark) { :root { --ink: #e6eaf0; --soft: #a3adbd; --line: #333c4a; --paper: #171c24; --back: #10141a; --accent: #7cb8ff; --bad: #ff9a8f; --warn: #f0b860; --good: #7fd6a0; } }
* { box-sizing: border-box; }
body { margin: 0; font: 16px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); }
a { color: var(--accent); }
:focus-visible { outline: 3px solid var(--accent); outline-offset: 2px; }
.skip { position: absolute; left: -100rem; }
.skip:focus { position: static; }
header, footer, main { max-width: 72rem; margin: 0 auto; padding: .75rem 1rem; }
header { display: flex; flex-wrap: wrap; gap: 1rem; align-items: center; }
header nav { display: flex; flex-wrap: wrap; gap: 1rem; flex: 1; }
[aria-current] { font-weight: 600; }
footer { color: var(--soft); font-size: .875rem; display: flex; flex-wrap: wrap; gap: 1rem; }
.scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: .5rem; }
table { border-collapse: collapse; width: 100%; }
caption { text-align: left; padding: .75rem; font-weight: 600; }
th, td { text-align: left; padding: .5rem .75rem; border-top: 1px solid var(--line); vertical-align: top; font-weight: 400; }
thead th { color: var(--soft); font-size: .875rem; }
.number { text-align: right; font-variant-numeric: tabular-nums; }
.badge { border: 1px solid currentColor; border-radius: 1rem; padding: 0 .5rem; font-size: .875rem; white-space: nowrap; }
.badge-parked { color: var(--bad); } .badge-blocked { color: var(--warn); } .badge-current { color: var(--good); }
.notice { border-left: 4px solid var(--accent); background: var(--paper); padding: .75rem 1rem; margin: 0 0 1rem; }
.notice-bad { border-color: var(--bad); } .notice-warn { border-color: var(--warn); }
.field { margin: 0 0 1rem; } .field label { display: block; font-weight: 600; } .hint { display: block; color: var(--soft); font-size: .875rem; }
input, select, textarea, button { font: inherit; color: inherit; background: var(--paper); border: 1px solid var(--soft); border-radius: .375rem; padding: .375rem .625rem; max-width: 100%; }
button, .button { cursor: pointer; border: 1px solid var(--accent); color: var(--accent); background: var(--paper); border-radius: .375rem; padding: .375rem .75rem; display: inline-block; text-decoration: none; }
form.inline { display: inline; }
.actions, .pager { display: flex; flex-wrap: wrap; gap: .75rem; margin: 1rem 0; }
`;
