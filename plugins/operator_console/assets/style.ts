/** The style of the console. It is part of every page, and allowed by its hash. */

export const STYLE = `
:root {
  color-scheme: light dark;
  --back: #f5f6f8; --paper: #fff; --sunken: #eef0f4; --line: #dfe3e9; --edge: #848c9a;
  --ink: #161a22; --soft: #535b69; --accent: #3a49c4; --accent-soft: #ebedfb; --on-accent: #fff;
  --good: #17663a; --good-soft: #e3f3e9; --good-fill: #2f9a5c;
  --busy: #0a5a92; --busy-soft: #e2effa; --busy-fill: #2e8bd0;
  --warn: #7a4a00; --warn-soft: #fcefd3; --warn-fill: #d18f12;
  --bad: #a1211b; --bad-soft: #fce8e6; --bad-fill: #d4453d;
  --held: #574891; --held-soft: #eeebf9; --held-fill: #a99cdb;
  --gone: #535b69; --gone-soft: #e9ecf0; --gone-fill: #a7afba;
  --l1: #3a49c4; --l2: #6a78da; --l3: #98a2e6; --l4: #bac1ee; --l5: #d3d7ef; --l6: #e4e6ee;
  --sans: system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "Noto Sans", sans-serif;
  --mono: ui-monospace, "SF Mono", "Cascadia Mono", "Roboto Mono", "DejaVu Sans Mono", monospace;
  --s1: .25rem; --s2: .5rem; --s3: .75rem; --s4: 1rem; --s5: 1.5rem; --s6: 2rem; --s7: 3rem;
}
@media (prefers-color-scheme: dark) {
  :root {
    --back: #0e1116; --paper: #161a21; --sunken: #1e232c; --line: #2a303a; --edge: #6f7886;
    --ink: #e7eaef; --soft: #a5aebb; --accent: #a3aeff; --accent-soft: #212746; --on-accent: #10142b;
    --good: #7ed6a0; --good-soft: #143122; --good-fill: #3aa869;
    --busy: #86c6f6; --busy-soft: #122b3e; --busy-fill: #3f97d8;
    --warn: #efc06a; --warn-soft: #35280d; --warn-fill: #c88c1c;
    --bad: #ff9f96; --bad-soft: #3b1a18; --bad-fill: #d9574f;
    --held: #c4b8f2; --held-soft: #282241; --held-fill: #7a6cb8;
    --gone: #a5aebb; --gone-soft: #252b34; --gone-fill: #566070;
    --l1: #98a4ff; --l2: #6572d6; --l3: #4a55a3; --l4: #3a4379; --l5: #303754; --l6: #292e3c;
  }
}
*, *::before, *::after { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; text-size-adjust: 100%; }
body { margin: 0; min-height: 100vh; font: 400 .9375rem/1.5 var(--sans); color: var(--ink); background: var(--back); }
h1, h2, p, ul, ol, dl, dd, pre { margin: 0; padding: 0; }
ul, ol { list-style: none; }
h1 { font-size: 1.5rem; line-height: 1.25; font-weight: 650; letter-spacing: -.012em; overflow-wrap: anywhere; margin-bottom: var(--s4); }
h2 { font-size: 1rem; line-height: 1.4; font-weight: 620; }
h2::first-letter { text-transform: uppercase; }
b, strong { font-weight: 620; }
small, .soft, .hint { font-size: .8125rem; color: var(--soft); }
code { font: .8125rem/1.5 var(--mono); overflow-wrap: anywhere; }
time, .number, .stat-value, .total-value, .ago { font-variant-numeric: tabular-nums; }
a { color: var(--accent); text-decoration-thickness: 1px; text-underline-offset: .18em; text-decoration-color: color-mix(in srgb, currentColor 40%, transparent); }
a:hover { text-decoration-color: currentColor; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; border-radius: 3px; }
main:focus { outline: none; }
.skip { position: absolute; top: -10rem; left: var(--s4); z-index: 2; padding: var(--s2) var(--s4); background: var(--accent); color: var(--on-accent); border-radius: .5rem; }
.skip:focus { top: var(--s2); }

/* The frame: the pages on the left, above the content on narrow screens. */
.framed { display: grid; grid-template: "top top" auto "pages main" 1fr "pages foot" auto / 13rem minmax(0, 1fr); }
.bar-top { grid-area: top; display: flex; flex-wrap: wrap; gap: var(--s2) var(--s4); align-items: center; justify-content: space-between; min-height: 3.5rem; padding: var(--s2) var(--s5); background: var(--paper); border-bottom: 1px solid var(--line); }
.name { display: inline-flex; align-items: center; gap: var(--s2); font-weight: 650; letter-spacing: -.01em; color: var(--ink); text-decoration: none; }
.mark { width: 1.375rem; height: 1.375rem; border-radius: .375rem; background: var(--accent); position: relative; }
.mark::before { content: ""; position: absolute; inset: .3125rem; background: var(--on-accent); clip-path: polygon(0 55%, 24% 55%, 24% 100%, 0 100%, 0 55%, 38% 0, 62% 0, 62% 100%, 38% 100%, 38% 0, 76% 30%, 100% 30%, 100% 100%, 76% 100%, 76% 30%, 38% 0); }
.viewer { display: flex; align-items: center; gap: var(--s3); }
.pages { grid-area: pages; padding: var(--s4) var(--s3); }
.pages ul { display: grid; gap: 2px; position: sticky; top: var(--s4); }
.pages a { display: block; padding: .375rem var(--s3); border-radius: .5rem; color: var(--soft); text-decoration: none; font-weight: 500; }
.pages a:hover { background: var(--sunken); color: var(--ink); }
.pages a[aria-current] { background: var(--accent-soft); color: var(--accent); font-weight: 620; }
main { grid-area: main; padding: var(--s5) var(--s5) var(--s7); max-width: 84rem; min-width: 0; }
footer { grid-area: foot; display: flex; flex-wrap: wrap; gap: var(--s2) var(--s5); align-items: center; justify-content: space-between; max-width: 84rem; padding: var(--s3) var(--s5) var(--s5); color: var(--soft); font-size: .8125rem; }
.languages { display: flex; gap: var(--s1); }
.languages button { border: 0; background: none; color: var(--soft); min-height: 1.75rem; padding: 0 var(--s2); font-weight: 400; }
.languages button[aria-current] { color: var(--ink); font-weight: 620; }
.bare { display: grid; grid-template: "top" auto "main" 1fr "foot" auto / minmax(0, 1fr); }
.bare main { width: 100%; max-width: 26rem; margin: 8vh auto 0; }
.bare footer { width: 100%; max-width: 26rem; margin: 0 auto; }

/* Cards and columns. */
.columns { display: grid; gap: var(--s4); grid-template-columns: minmax(0, 5fr) minmax(0, 4fr); align-items: start; }
.columns-main { grid-template-columns: minmax(0, 5fr) minmax(0, 3fr); margin-top: var(--s4); }
.columns-even { grid-template-columns: repeat(2, minmax(0, 1fr)); }
main > .card + .card, .columns + .card { margin-top: var(--s4); }
.column, .column > [data-live] { display: grid; gap: var(--s4); min-width: 0; }
.column > [data-live]:empty { display: none; }
.card { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: var(--s4) var(--s5) var(--s5); min-width: 0; }
.column + .card, .columns + .card { margin-top: var(--s4); }
.card-head { display: flex; flex-wrap: wrap; gap: var(--s1) var(--s4); align-items: baseline; justify-content: space-between; margin-bottom: var(--s3); }
.tools, .tabs { display: flex; flex-wrap: wrap; gap: var(--s1); font-size: .8125rem; }
.tools[role] a, .tabs a { padding: .125rem var(--s2); border-radius: .375rem; text-decoration: none; color: var(--soft); font-weight: 500; }
.tools[role] a:hover, .tabs a:hover { background: var(--sunken); color: var(--ink); }
.tools[role] a[aria-current], .tabs a[aria-current] { background: var(--accent-soft); color: var(--accent); font-weight: 620; }
.tabs { font-size: .9375rem; margin-bottom: var(--s4); }
.card + .tabs { margin-top: var(--s4); }
.tabs a { padding: .375rem var(--s3); border-radius: .5rem; }
.lead { display: flex; flex-wrap: wrap; gap: var(--s2); align-items: center; margin-bottom: var(--s3); }
.version { font-variant-numeric: tabular-nums; font-weight: 550; }
.arrow { color: var(--soft); }
.empty { padding: var(--s5) var(--s4); text-align: center; color: var(--soft); border: 1px dashed var(--line); border-radius: .625rem; text-wrap: balance; }
.empty-title { color: var(--ink); font-weight: 620; }
main > .empty { padding: var(--s7) var(--s4); background: var(--paper); }
.facts { display: grid; gap: var(--s2); }
.facts > div { display: grid; grid-template-columns: minmax(7rem, 2fr) 4fr; gap: var(--s3); }
.facts dt { color: var(--soft); }
.facts dd { overflow-wrap: anywhere; }
.card .facts + p { margin-top: var(--s3); }

/* States: a word, a shape and a color. */
.badge { --tone: var(--gone); --tint: var(--gone-soft); display: inline-flex; align-items: center; gap: .375em; padding: .0625rem .5rem .0625rem .4375rem; border-radius: 1rem; font-size: .8125rem; line-height: 1.45; font-weight: 560; white-space: nowrap; color: var(--tone); background: var(--tint); }
.badge::before { content: ""; flex: none; width: .5625rem; height: .5625rem; background: currentColor; clip-path: circle(50%); forced-color-adjust: none; }
.badge-current, .badge-rollout-finished, .badge-outcome-done, .badge-batch-finished, .badge-figure-ok { --tone: var(--good); --tint: var(--good-soft); }
.badge-current::before, .badge-rollout-finished::before, .badge-outcome-done::before, .badge-batch-finished::before, .badge-figure-ok::before { clip-path: polygon(12% 44%, 38% 70%, 88% 12%, 100% 26%, 40% 94%, 0 58%); }
.badge-upgrading, .badge-rollout-running, .badge-outcome-pending, .badge-batch-running { --tone: var(--busy); --tint: var(--busy-soft); }
.badge-upgrading::before, .badge-rollout-running::before, .badge-outcome-pending::before, .badge-batch-running::before { clip-path: polygon(50% 0, 100% 52%, 68% 52%, 68% 100%, 32% 100%, 32% 52%, 0 52%); }
.badge-blocked, .badge-rollout-paused, .badge-outcome-refused { --tone: var(--warn); --tint: var(--warn-soft); }
.badge-blocked::before, .badge-rollout-paused::before, .badge-outcome-refused::before { clip-path: polygon(12% 0, 40% 0, 40% 100%, 12% 100%, 12% 0, 60% 0, 88% 0, 88% 100%, 60% 100%, 60% 0); }
.badge-parked, .badge-rollout-aborted, .badge-outcome-failed, .badge-figure-look { --tone: var(--bad); --tint: var(--bad-soft); }
.badge-parked::before, .badge-rollout-aborted::before, .badge-outcome-failed::before, .badge-figure-look::before { clip-path: polygon(50% 2%, 100% 96%, 0 96%); }
.badge-held { --tone: var(--held); --tint: var(--held-soft); }
.badge-held::before { clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.badge-uninstalled::before, .badge-figure-note::before, .badge-rollout-superseded::before, .badge-batch-stopped::before { clip-path: inset(38% 0); }
.fill-current { fill: var(--good-fill); background: var(--good-fill); }
.fill-upgrading { fill: var(--busy-fill); background: var(--busy-fill); }
.fill-blocked { fill: var(--warn-fill); background: var(--warn-fill); }
.fill-parked { fill: var(--bad-fill); background: var(--bad-fill); }
.fill-held { fill: var(--held-fill); background: var(--held-fill); }
.fill-uninstalled { fill: var(--gone-fill); background: var(--gone-fill); }
.fill-rest { fill: var(--sunken); }
.bar { display: block; width: 100%; height: .625rem; border-radius: .3125rem; }
.legend { display: flex; flex-wrap: wrap; gap: var(--s1) var(--s4); margin-top: var(--s3); font-size: .8125rem; color: var(--soft); }
.legend b { color: var(--ink); font-variant-numeric: tabular-nums; }
.key { display: inline-block; width: .625rem; height: .625rem; border-radius: .1875rem; margin-right: .375rem; border: 1px solid color-mix(in srgb, var(--ink) 25%, transparent); forced-color-adjust: none; }

/* Totals of the overview. */
.totals { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: var(--s4) var(--s5); margin-bottom: var(--s4); }
.total { display: flex; gap: var(--s2); align-items: baseline; color: var(--soft); margin-bottom: var(--s3); }
.total-value { font-size: 2rem; line-height: 1.1; font-weight: 650; letter-spacing: -.02em; color: var(--ink); }
.stats { display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: var(--s2) var(--s4); margin-top: var(--s4); }
.stat > a { display: block; text-decoration: none; color: inherit; border-radius: .5rem; }
.stat > a:hover .stat-value { text-decoration: underline; text-decoration-thickness: 1px; text-underline-offset: .2em; }
.stat-value { display: block; font-size: 1.25rem; line-height: 1.3; font-weight: 620; }

/* Charts. */
.plot { position: relative; padding-left: 3rem; }
.plot svg { display: block; width: 100%; height: 15rem; }
.plot .grid { stroke: var(--ink); stroke-opacity: .12; fill: none; vector-effect: non-scaling-stroke; }
.plot .layer { stroke: var(--paper); stroke-width: 1; vector-effect: non-scaling-stroke; }
.scale { position: absolute; inset: 0 auto 0 0; width: 2.5rem; text-align: right; display: flex; flex-direction: column; justify-content: space-between; pointer-events: none; font-size: .75rem; line-height: 1rem; color: var(--soft); font-variant-numeric: tabular-nums; }
.scale li { height: 0; transform: translateY(-.5rem); }
.layer-1 { fill: var(--l1); background: var(--l1); } .layer-2 { fill: var(--l2); background: var(--l2); }
.layer-3 { fill: var(--l3); background: var(--l3); } .layer-4 { fill: var(--l4); background: var(--l4); }
.layer-5 { fill: var(--l5); background: var(--l5); } .layer-other { fill: var(--l6); background: var(--l6); }
.axis { display: flex; justify-content: space-between; gap: var(--s2); padding-left: 3rem; margin-top: var(--s2); font-size: .75rem; color: var(--soft); }

/* Rollouts. */
.wait { padding: var(--s2) var(--s3); border-radius: .5rem; background: var(--sunken); margin-bottom: var(--s4); }
.wait-stopped { background: var(--warn-soft); color: var(--warn); }
.wait-stopped .ago { white-space: nowrap; }
.progress { margin-bottom: var(--s4); }
.progress + .facts { max-width: 34rem; }
.progress-head { display: flex; justify-content: space-between; gap: var(--s4); margin-bottom: var(--s2); }
.stages { display: grid; grid-auto-flow: column; grid-auto-columns: minmax(0, 1fr); gap: var(--s3); margin-top: var(--s4); }
.stage { display: grid; align-content: start; border-top: 3px solid var(--line); padding-top: var(--s2); font-size: .8125rem; color: var(--soft); }
.stage-over { border-color: var(--good-fill); }
.stage-present { border-color: var(--accent); }
.stage-size { color: var(--ink); font-weight: 620; font-size: .9375rem; }
.stage-present .stage-state { color: var(--accent); font-weight: 560; }

/* Groups of stuck portals. */
.groups { display: grid; }
.group { padding: var(--s3) 0; border-top: 1px solid var(--line); display: grid; gap: var(--s1); }
.group:first-child { border-top: 0; padding-top: 0; }
.group:last-child { padding-bottom: 0; }
.group-head { display: flex; flex-wrap: wrap; gap: var(--s1) var(--s2); align-items: baseline; }
.group-count { font-weight: 620; font-variant-numeric: tabular-nums; }
.group-place { color: var(--soft); font-size: .8125rem; }
.group-foot { display: flex; flex-wrap: wrap; gap: var(--s2) var(--s4); align-items: center; justify-content: space-between; font-size: .8125rem; color: var(--soft); overflow-wrap: anywhere; }
.message { overflow-wrap: anywhere; white-space: pre-line; }
.group > .message, td .message { display: -webkit-box; -webkit-box-orient: vertical; -webkit-line-clamp: 4; overflow: hidden; }
.message-parked, .message-blocked { padding: var(--s2) var(--s3); border-radius: .5rem; margin-bottom: var(--s3); background: var(--bad-soft); color: var(--bad); }
.message-blocked { background: var(--warn-soft); color: var(--warn); }
.reason-place { color: var(--soft); font-size: .8125rem; display: block; }

/* Tables. */
.words { overflow-wrap: anywhere; }
.scroll { overflow-x: auto; }
.scroll code[title] { white-space: nowrap; }
.card thead th { white-space: normal; vertical-align: bottom; }
main > .scroll, main > [data-live] > .scroll { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; }
table { border-collapse: collapse; width: 100%; }
caption { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
th, td { text-align: left; padding: .5rem .75rem; border-top: 1px solid var(--line); vertical-align: top; font-weight: 400; }
thead th { border-top: 0; color: var(--soft); font-size: .8125rem; font-weight: 560; white-space: nowrap; }
tbody th > a, tbody th > b { font-weight: 560; }
tbody a:not(:hover), .group-count:not(:hover) { text-decoration: none; }
th:first-child, td:first-child { padding-left: var(--s4); } th:last-child, td:last-child { padding-right: var(--s4); }
.card .scroll { margin: 0 calc(-1 * var(--s3)); }
.card th, .card td { padding: .4375rem .5rem; }
.card th:first-child, .card td:first-child { padding-left: var(--s3); } .card th:last-child, .card td:last-child { padding-right: var(--s3); }
.card tbody tr:last-child > * { padding-bottom: 0; }
tbody tr:hover { background: color-mix(in srgb, var(--sunken) 55%, transparent); }
.number { text-align: right; white-space: nowrap; }
.zero { color: var(--soft); }
.member { display: block; color: var(--soft); font-size: .75rem; font-weight: 400; white-space: nowrap; }
.version { white-space: nowrap; }
td time { white-space: nowrap; }

/* Forms. */
.field { display: grid; gap: var(--s1); margin: 0; align-content: start; min-width: 0; }
.field label { font-size: .8125rem; font-weight: 560; }
.choices { display: grid; grid-template-columns: repeat(auto-fill, minmax(14rem, 1fr)); gap: var(--s2) var(--s4); min-width: 0; margin: 0; padding: 0; border: 0; font-size: .875rem; }
.choices legend { padding: 0; margin-bottom: var(--s2); font-size: .8125rem; font-weight: 560; }
.choices label { min-width: 0; overflow-wrap: anywhere; }
.choices .hint { grid-column: 1 / -1; margin: 0; }
input, select, button, .button { font: inherit; color: inherit; min-height: 2.25rem; max-width: 100%; border: 1px solid var(--edge); border-radius: .5rem; background: var(--paper); padding: .3125rem .625rem; }
input:not([type="checkbox"]), select { width: 100%; }
input[type="checkbox"] { min-height: 0; width: 1.125rem; height: 1.125rem; margin: 0; accent-color: var(--accent); vertical-align: -.2em; }
button, .button { display: inline-flex; align-items: center; justify-content: center; border-color: var(--line); color: var(--ink); font-size: .875rem; font-weight: 560; padding: .3125rem .75rem; cursor: pointer; text-decoration: none; }
button:hover, .button:hover { border-color: var(--edge); background: var(--sunken); }
button.primary, .button.primary { border-color: var(--accent); background: var(--accent); color: var(--on-accent); }
button.primary:hover { filter: brightness(1.1); }
.danger { color: var(--bad); }
button.danger { border-color: var(--bad); }
button:disabled { opacity: .55; cursor: default; }
button[aria-busy] { opacity: 1; cursor: progress; position: relative; color: transparent; }
button[aria-busy]::after { content: ""; position: absolute; inset: 0; margin: auto; width: 1rem; height: 1rem; border: 2px solid var(--ink); border-right-color: transparent; border-radius: 50%; }
button.primary[aria-busy]::after { border-color: var(--on-accent); border-right-color: transparent; }
.actions, .pager, .batch { display: flex; flex-wrap: wrap; gap: var(--s2); align-items: center; }
.card .actions { margin-top: var(--s4); }
main > .actions, #actions > .actions, main > .batch { margin-bottom: var(--s4); }
.group-actions { display: flex; flex-wrap: wrap; gap: var(--s2); }
.group-foot .button { min-height: 1.875rem; padding: .125rem .625rem; font-size: .8125rem; }
.batch { padding: var(--s2) var(--s3); background: var(--accent-soft); border-radius: .625rem; font-size: .875rem; font-weight: 560; }
.filters { background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; padding: var(--s4); margin-bottom: var(--s4); }
.column > .filters { margin: 0; }
.search { display: grid; grid-template-columns: minmax(0, 1fr) auto; gap: var(--s1) var(--s2); }
.search .field { display: contents; }
.search .field label, .search .hint { grid-column: 1 / -1; }
.search .field input { grid-row: 2; font-size: 1rem; min-height: 2.5rem; }
.search button { grid-row: 2; grid-column: 2; min-width: 5rem; }
.filters summary { cursor: pointer; font-size: .875rem; font-weight: 560; color: var(--accent); width: max-content; }
.filter-fields { display: grid; grid-template-columns: repeat(auto-fill, minmax(12rem, 1fr)); gap: var(--s3) var(--s4); }
.search + details { margin-top: var(--s3); }
.filters summary + .filter-fields { margin-top: var(--s3); }
.filter-fields .actions { align-self: end; }
.inline-form { display: grid; gap: var(--s3); justify-items: start; }
.inline-form .field { width: 100%; }
.list-foot { display: flex; flex-wrap: wrap; gap: var(--s2) var(--s5); align-items: center; justify-content: space-between; margin-top: var(--s4); font-size: .875rem; color: var(--soft); }
.exports { margin-left: auto; }
.form-card { max-width: 38rem; }
.form-card .facts { margin: var(--s4) 0; }
.problems { display: grid; gap: var(--s2); margin-bottom: var(--s4); }
.act, main > form:not(.filters) { display: grid; gap: var(--s4); max-width: 34rem; margin-top: var(--s4); }
main > .facts { max-width: 34rem; margin: var(--s4) 0; }
main > p { max-width: 46rem; }
.matched { font-weight: 620; }
.report { overflow: auto; padding: var(--s4); background: var(--paper); border: 1px solid var(--line); border-radius: .75rem; font: .8125rem/1.6 var(--mono); margin-bottom: var(--s4); }
.notice { border: 1px solid var(--line); border-left: 4px solid var(--accent); border-radius: .5rem; background: var(--paper); padding: var(--s3) var(--s4); margin-bottom: var(--s4); overflow-wrap: anywhere; }
.notice-bad { border-left-color: var(--bad-fill); } .notice-warn { border-left-color: var(--warn-fill); } .notice-done { border-left-color: var(--good-fill); }

/* The timeline of a portal. */
.timeline { position: relative; }
.entry { position: relative; padding: 0 0 var(--s4) 1.625rem; --tone: var(--edge); }
.entry::before { content: ""; position: absolute; left: .3125rem; top: 1.25rem; bottom: -.25rem; width: 1px; background: var(--line); }
.entry:last-child::before { display: none; }
.entry::after { content: ""; position: absolute; left: 0; top: .4375rem; width: .6875rem; height: .6875rem; background: var(--tone); clip-path: circle(50%); }
.entry-good { --tone: var(--good-fill); } .entry-warn { --tone: var(--warn-fill); } .entry-bad { --tone: var(--bad-fill); }
.entry-good::after { clip-path: polygon(12% 44%, 38% 70%, 88% 12%, 100% 26%, 40% 94%, 0 58%); }
.entry-bad::after { clip-path: polygon(50% 2%, 100% 96%, 0 96%); }
.entry-warn::after { clip-path: polygon(50% 0, 100% 50%, 50% 100%, 0 50%); }
.entry-step::after { transform: scale(.7); }
.entry-head { display: grid; grid-template-columns: 5rem minmax(0, 1fr) auto; gap: 0 var(--s2); align-items: baseline; }
.entry-kind { font-size: .75rem; color: var(--soft); }
.entry-title { font-weight: 560; overflow-wrap: anywhere; }
.entry-head time { white-space: nowrap; font-size: .8125rem; color: var(--soft); }
.entry-text { font-size: .875rem; padding-left: 5.5rem; color: var(--soft); overflow-wrap: anywhere; }
.entry-bad .message { color: var(--bad); display: block; }
.plan { display: grid; gap: var(--s1); margin-top: var(--s2); list-style: decimal inside; }
.figures { display: grid; }
#figures-live { max-width: 46rem; }
main > .soft { margin-bottom: var(--s4); }
.figure { display: grid; grid-template-columns: 7rem minmax(0, 3fr) minmax(0, 2fr); gap: var(--s3); align-items: baseline; padding: var(--s2) 0; border-top: 1px solid var(--line); }
.figure:first-child { border-top: 0; }
.figure .badge { justify-self: start; }
.figure-value { text-align: right; font-variant-numeric: tabular-nums; }
.figures + .soft { margin-top: var(--s3); }

@media (max-width: 60rem) {
  .columns, .columns-main, .columns-even { grid-template-columns: minmax(0, 1fr); }
  .framed { grid-template: "top" auto "pages" auto "main" 1fr "foot" auto / minmax(0, 1fr); }
  .pages { padding: var(--s2) var(--s4); background: var(--paper); border-bottom: 1px solid var(--line); overflow-x: auto; }
  .pages ul { display: flex; position: static; width: max-content; }
  .pages a { white-space: nowrap; }
}
@media (max-width: 40rem) {
  body { font-size: 1rem; }
  .bar-top { padding: var(--s2) var(--s4); min-height: 3rem; }
  main { padding: var(--s4) var(--s4) var(--s6); }
  footer { padding: var(--s3) var(--s4) var(--s5); }
  .card, .totals { padding: var(--s4); }
  .stats { grid-template-columns: repeat(2, minmax(0, 1fr)); }
  .stages { grid-auto-flow: row; }
  .stage { border-top: 0; border-left: 3px solid var(--line); padding: 0 0 0 var(--s3); }
  .stage-over { border-color: var(--good-fill); } .stage-present { border-color: var(--accent); }
  .facts > div { grid-template-columns: minmax(0, 1fr); gap: 0; }
  .facts dt { font-size: .8125rem; }
  .entry-head { grid-template-columns: minmax(0, 1fr) auto; } .entry-title { grid-column: 1 / -1; grid-row: 2; } .entry-text { padding-left: 0; }
  .plot svg { height: 11rem; }
  .figure { grid-template-columns: auto minmax(0, 1fr); gap: var(--s1) var(--s3); }
  .figure-name { grid-column: 1 / -1; grid-row: 2; } .figure-value { grid-column: 2; grid-row: 1; }
  .cards thead { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); }
  .cards table, .cards tbody, .cards tr, .cards th, .cards td { display: block; }
  .cards tr { padding: var(--s3) var(--s4); border-top: 1px solid var(--line); }
  .cards tr:first-child { border-top: 0; }
  .cards tbody th, .cards tbody td { border: 0; padding: .125rem 0; text-align: left; overflow-wrap: anywhere; }
  .cards tbody td { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr); gap: var(--s3); white-space: normal; }
  .cards td::before { content: attr(data-label); color: var(--soft); font-size: .8125rem; line-height: 1.8; }
  .cards .blank { display: none; }
  .card .cards tr { padding: var(--s3); }
  .card .cards tbody tr > * { padding: .125rem 0; }
}
@keyframes turn { to { transform: rotate(1turn); } }
@media (prefers-reduced-motion: no-preference) {
  button[aria-busy]::after { animation: turn .8s linear infinite; }
  a, button, .button { transition: background-color .12s, border-color .12s, color .12s; }
}
@media (forced-colors: active) { .badge { border: 1px solid; } .badge::before, .entry::after { background: CanvasText; } }
@media print { .pages, .actions, .batch, .filters, .pager, .languages, .skip { display: none; } .framed { display: block; } }
`;
