// The entry point of the page: routes URLs to views, and provides what all views share.

import { getCurrentUser, listDatasets } from "./api.js";
import { CalendarPage } from "./calendarPage.js";
import { h, throttle } from "./dom.js";
import { t } from "./i18n.js";
import { LiveEvents } from "./liveEvents.js";
import { notificationFor } from "./notifications.js";
import { describeProblem } from "./problems.js";
import { clear, store } from "./recordCache.js";
import { RecordPage } from "./recordPage.js";
import { RecordsPage } from "./recordsPage.js";
import { Shell } from "./shell.js";
import { showSignIn } from "./signIn.js";

const RELOAD_INTERVAL = 10 * 60_000; // milliseconds; a new day starts without any record of it
const RELOAD_JITTER = 20_000; // milliseconds, so that open pages do not all reload at once
const RETRY_DELAY = 5000; // milliseconds
const MAX_WAIT_FOR_STREAM = 800; // milliseconds; loading after the stream opens misses no change
const root = document.querySelector("main");
const shell = new Shell({ onLanguageChange: () => start() });
let user = null;
let view = null;
let visit = 0;
let showing = null;
let signingIn = false;

/** What the views may use. */
const app = {
  listDatasets,
  canLaunch: () => user?.role === "operator",
  notify: (text) => shell.notify(text),
  notifyProblem: (problem) => shell.notify(describeProblem(problem), "problem"),
  onRecords,
  catchProblem,
  navigate,
};

let onStreamReady = () => {};
const events = new LiveEvents({
  onState: (state) => {
    shell.setConnection(state);
    onStreamReady();
    if (state === "disconnected") getCurrentUser().catch(() => null); // detects an expired session
  },
  onRecords,
  onReset: clear,
  onReload: () => view && reload(), // without a view, the next one loads everything anyway
});
const reload = throttle(async () => {
  if (!view) return;
  user = await getCurrentUser().catch(() => user);
  await showing; // reloading a view while it is built would discard what the user has filled in
  await catchProblem(() => view?.reload());
}, 1000);

/** Passes changed records to the cache, the notifications and the view. */
function onRecords(records) {
  store(records);
  const notification = notificationFor(records);
  if (notification) shell.notify(notification.text, notification.kind);
  view?.onRecords(records);
}

/** Runs an action; shows a notification if it throws a Problem. */
async function catchProblem(action) {
  try {
    await action();
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    if (problem.status !== 401) app.notifyProblem(problem);
  }
}

function createView(path) {
  const id = /^\/sync-status\/(\d+)$/.exec(path)?.[1];
  if (id) return new RecordPage(app, Number(id));
  return path === "/sync-status/calendar" ? new CalendarPage(app) : new RecordsPage(app);
}

/** Shows the view of the current URL; `restored` is the history state that the view was left with. */
function show(options = {}) {
  showing = showView(options);
  return showing;
}

async function showView({ restored = null, focus = false }) {
  const current = ++visit;
  view?.leave();
  view = createView(location.pathname);
  shell.markCurrentLink();
  const shown = view;
  const container = h("div", { class: "view" });
  root.replaceChildren(container);
  root.setAttribute("aria-busy", "true");
  try {
    await shown.show(container, restored);
  } catch (problem) {
    if (problem.name !== "Problem") throw problem;
    if (current !== visit || problem.status === 401) return;
    showProblem(container, problem);
    root.setAttribute("aria-busy", "false");
    const isTemporary = problem.status === 0 || problem.status >= 500;
    if (isTemporary) setTimeout(() => current === visit && show({ restored }), RETRY_DELAY);
  }
  if (current !== visit) return;
  root.setAttribute("aria-busy", "false");
  if (focus) container.querySelector("h1")?.focus({ preventScroll: true });
  window.scrollTo(0, restored?.scroll ?? 0);
}

function showProblem(container, problem) {
  container.replaceChildren(
    h("h1", { tabindex: "-1" }, t("problem.title")),
    h("p", { class: "error" }, describeProblem(problem)),
    h("p", {}, h("a", { href: "/sync-status" }, t("problem.back"))),
  );
}

/** Navigates to another URL of the page. */
function navigate(url) {
  history.replaceState({ ...view?.state(), scroll: window.scrollY }, "");
  history.pushState(null, "", url);
  show({ focus: true });
}

document.addEventListener("click", (event) => {
  const link = event.target.closest?.("a[href^='/sync-status']");
  const isPlainClick =
    event.button === 0 && !event.metaKey && !event.ctrlKey && !event.shiftKey && !event.altKey;
  if (!link || !isPlainClick || event.defaultPrevented) return;
  event.preventDefault();
  navigate(link.getAttribute("href"));
});
window.addEventListener("popstate", (event) => show({ restored: event.state, focus: true }));
window.addEventListener("signed-out", () => {
  if (signingIn) return; // the user may be typing a token
  signingIn = true;
  events.stop();
  view?.leave();
  view = null;
  visit += 1;
  shell.draw(null);
  showSignIn(root, start);
});
setInterval(
  () => view && !document.hidden && setTimeout(reload, Math.random() * RELOAD_JITTER),
  RELOAD_INTERVAL,
);
history.scrollRestoration = "manual";

async function start() {
  signingIn = false;
  try {
    user = await getCurrentUser();
  } catch (problem) {
    shell.draw(null);
    if (problem.status !== 401) {
      showProblem(root, problem);
      setTimeout(start, RETRY_DELAY);
    }
    return;
  }
  shell.draw(user);
  const streamReady = new Promise((resolve) => {
    onStreamReady = resolve;
    setTimeout(resolve, MAX_WAIT_FOR_STREAM);
  });
  events.start();
  await streamReady;
  await show();
}

start();
