/** The style and the script of the page of a stand-in. Neither contains a value. */

/** The style. */
export const STYLE = `
:root { color-scheme: light dark; --quiet: light-dark(#5a6472, #9aa7b5); --line: light-dark(#d8dee6, #39424d);
  --card: light-dark(#f5f7fa, #1d232a); --good: light-dark(#11683a, #6bd69a); --bad: light-dark(#b3261e, #ff8f87);
  --warn: light-dark(#8a5300, #f0bb62); }
* { box-sizing: border-box; }
body { margin: 0; font: 15px/1.5 system-ui, sans-serif; background: light-dark(#fff, #14181d); color: light-dark(#1b2530, #e6ebf0);
  display: grid; grid-template-columns: minmax(17rem, 21rem) 1fr; grid-template-areas: "head head" "nav main";
  grid-template-rows: auto 1fr; min-height: 100vh; }
header { grid-area: head; padding: .8rem 1.2rem; border-bottom: 1px solid var(--line); }
h1 { font-size: 1.15rem; margin: 0 0 .4rem; }
h3 { font-size: .85rem; margin: .7rem 0 .2rem; color: var(--quiet); }
header dl { display: flex; flex-wrap: wrap; gap: .3rem 2rem; margin: 0; }
header dl div { display: flex; flex-wrap: wrap; gap: 0 .6rem; align-items: baseline; }
header dt { color: var(--quiet); }
dd { margin: 0; }
code, pre { font: 13px/1.5 ui-monospace, monospace; }
pre { margin: 0; white-space: pre-wrap; overflow-wrap: anywhere; }
nav { grid-area: nav; padding: 1rem 1.2rem; border-right: 1px solid var(--line); }
main { grid-area: main; padding: 1rem 1.2rem; min-width: 0; }
fieldset { border: 0; margin: 0 0 .7rem; padding: 0; display: flex; flex-wrap: wrap; gap: .3rem; }
legend { font-size: .85rem; color: var(--quiet); padding: 0; margin-bottom: .2rem; }
button { font: inherit; font-size: .88rem; padding: .15rem .6rem; border: 1px solid var(--line); border-radius: .35rem;
  background: var(--card); color: inherit; cursor: pointer; }
button:hover { border-color: currentColor; }
form { margin: 0; }
.line { display: flex; flex-wrap: wrap; gap: .3rem; align-items: center; margin-bottom: .7rem; }
.line input { font: 13px ui-monospace, monospace; padding: .25rem .4rem; flex: 1; min-width: 8rem; }
.help dt { margin-top: .4rem; }
.help dd, .quiet, time { color: var(--quiet); }
table { border-collapse: collapse; width: 100%; font-size: .9rem; }
th { text-align: left; font-weight: 600; color: var(--quiet); }
th, td { padding: .2rem .8rem .2rem 0; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
th[scope=row] { white-space: nowrap; font: 13px/1.5 ui-monospace, monospace; }
.unusual { background: var(--card); border-left: 3px solid var(--warn); margin: .5rem 0; padding: .2rem .6rem; }
.entries { list-style: none; margin: 1rem 0 0; padding: 0; }
.entries > li { border-bottom: 1px solid var(--line); padding: .25rem 0; }
.entries .note { color: var(--warn); }
.call { padding-left: 2rem !important; font-size: .93rem; }
summary { cursor: pointer; }
.entries span { margin-left: .5rem; }
.entries .arrow { margin-left: 0; color: var(--quiet); }
.portals { overflow-x: auto; }
.portals th, .portals td { white-space: nowrap; }
details > :not(summary) { margin-left: 1rem; }
details > table { width: calc(100% - 1rem); }
time { font: 13px ui-monospace, monospace; }
.good { color: var(--good); } .bad { color: var(--bad); } .warn { color: var(--warn); } .pending { color: var(--quiet); }
@media (max-width: 55rem) { body { grid-template-columns: 1fr; grid-template-areas: "head" "nav" "main";
  grid-template-rows: auto auto 1fr; }
  nav { border-right: 0; border-bottom: 1px solid var(--line); } }
`;

/**
 * The script: replaces the live part when something happens, and sends forms without leaving the page. What it inserts is
 * escaped by the server. Without it, the page works by ordinary forms.
 */
export const SCRIPT = `
(() => {
  const live = document.getElementById("live");
  let isLoading = false, isStale = false;
  const refresh = async () => {
    if (isLoading) return void (isStale = true);
    isLoading = true;
    try {
      const response = await fetch("fragment", { cache: "no-store" });
      if (!response.ok) return;
      const open = new Set([...live.querySelectorAll("details[open]")].map((details) => details.id));
      live.innerHTML = await response.text();
      for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    } catch {
    } finally {
      isLoading = false;
      if (isStale) {
        isStale = false;
        refresh();
      }
    }
  };
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.target === "_blank") return;
    event.preventDefault();
    const body = new URLSearchParams(new FormData(form, event.submitter));
    form.querySelector("input")?.select();
    await fetch(form.action, { method: "POST", body, redirect: "manual" });
    refresh();
  });
  const source = new EventSource("live");
  source.onmessage = refresh;
  source.onopen = refresh;
})();
`;
