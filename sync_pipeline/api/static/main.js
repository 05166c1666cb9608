// Where the page begins: which view belongs to an address, and what all views share.

import { datasets, me } from "./api.js";
import { Calendar } from "./calendarPage.js";
import { h, throttled } from "./dom.js";
import { Events } from "./events.js";
import { Home } from "./recordsPage.js";
import { t } from "./i18n.js";
import { forget, note } from "./recordCache.js";
import { newsOf } from "./notifications.js";
import { problemWords } from "./problems.js";
import { RecordPage } from "./recordPage.js";
import { showSignIn } from "./signIn.js";
import { Shell } from "./shell.js";

const REFRESH = 10 * 60_000; // a new day begins without any record of it
const JITTER = 20_000; // milliseconds, so that not all pages of a server come at once
const TRY_AGAIN = 5000; // milliseconds
const LISTEN_FIRST = 800; // milliseconds: what is loaded once the stream is open cannot be missed
const root = document.querySelector("main");
const shell = new Shell({ onLanguage: () => start() });
let who = null;
let view = null;
let visit = 0;
let showing = null;
let asking = false; // for a token

/** What the views may use. */
const app = {
  datasets,
  mayLaunch: () => who?.role === "operator",
  say: (text) => shell.say(text),
  sayProblem: (problem) => shell.say(problemWords(problem), "problem"),
  onRecords: take,
  guarded,
  go,
};

let opened = () => {};
const events = new Events({
  onState: (state) => {
    shell.live(state);
    opened();
    if (state === "lost") me().catch(() => null); // a session that is over is said as that
  },
  onRecords: take,
  onReset: forget,
  onReload: () => view && reload(), // a view that is yet to come reads everything then
});
const reload = throttled(async () => {
  if (!view) return;
  who = await me().catch(() => who);
  await showing; // a view half shown would be built twice, over what was filled in meanwhile
  await guarded(() => view?.reload());
}, 1000);

/** Takes in records that changed. */
function take(records) {
  note(records);
  const news = newsOf(records);
  if (news) shell.say(news.text, news.kind);
  view?.onRecords(records);
}

/** Does something; says the Problem if it throws one. */
async function guarded(action) {
  try {
    await action();
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    if (problem.status !== 401) app.sayProblem(problem);
  }
}

function viewOf(path) {
  const id = /^\/sync-status\/(\d+)$/.exec(path)?.[1];
  if (id) return new RecordPage(app, Number(id));
  return path === "/sync-status/calendar" ? new Calendar(app) : new Home(app);
}

/** Shows the view of the address; `restored` is what it was left with, if it is come back to. */
function show(options = {}) {
  showing = present(options);
  return showing;
}

async function present({ restored = null, focus = false }) {
  const current = ++visit;
  view?.leave();
  view = viewOf(location.pathname);
  shell.place();
  const shown = view;
  const place = h("div", { class: "view" });
  root.replaceChildren(place);
  root.setAttribute("aria-busy", "true");
  try {
    await shown.show(place, restored);
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    if (current !== visit || problem.status === 401) return;
    showProblem(place, problem);
    root.setAttribute("aria-busy", "false");
    const passing = problem.status === 0 || problem.status >= 500;
    if (passing) setTimeout(() => current === visit && show({ restored }), TRY_AGAIN);
  }
  if (current !== visit) return;
  root.setAttribute("aria-busy", "false");
  if (focus) place.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, restored?.scroll ?? 0);
}

function showProblem(place, problem) {
  place.replaceChildren(
    h("h1", { tabindex: "-1" }, t("problem.title")),
    h("p", { class: "error" }, problemWords(problem)),
    h("p", {}, h("a", { href: "/sync-status" }, t("problem.back"))),
  );
}

/** Goes to another address of this page. */
function go(address) {
  history.replaceState({ ...view?.state(), scroll: window.scrollY }, "");
  history.pushState(null, "", address);
  show({ focus: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/sync-status']");
  const plain =
    event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !plain || event.defaultPrevented) return;
  event.preventDefault();
  go(link.getAttribute("href"));
});
window.addEventListener("popstate", (event) => show({ restored: event.state, focus: true }));
window.addEventListener("signed-out", () => {
  if (asking) return; // a token may be half typed
  asking = true;
  events.stop();
  view?.leave();
  view = null;
  visit += 1;
  shell.draw(null);
  showSignIn(root, start);
});
setInterval(() => view && !document.hidden && setTimeout(reload, Math.random() * JITTER), REFRESH);
history.scrollRestoration = "manual";

async function start() {
  asking = false;
  try {
    who = await me();
  } catch (problem) {
    shell.draw(null);
    if (problem.status !== 401) {
      showProblem(root, problem);
      setTimeout(start, TRY_AGAIN);
    }
    return;
  }
  shell.draw(who);
  const listening = new Promise((resolve) => {
    opened = resolve;
    setTimeout(resolve, LISTEN_FIRST);
  });
  events.start();
  await listening;
  await show();
}

start();
