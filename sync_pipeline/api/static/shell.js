// The header, footer and notifications around every view.

import { signOut } from "./api.js";
import { h, replace, setAttribute, setText, svg } from "./dom.js";
import { timeZone } from "./format.js";
import { LANGUAGES, language, setLanguage, t } from "./i18n.js";

const LINKS = { "/sync-status": "nav.records", "/sync-status/calendar": "nav.calendar" };
const NOTIFICATION_MS = 6_000;
const PROBLEM_MS = 15_000;

export class Shell {
  #connection = "disconnected";
  #wasLive = false;
  #notificationTimer = 0;

  constructor({ onLanguageChange }) {
    this.header = document.querySelector("header");
    this.footer = document.querySelector("footer");
    this.notification = document.querySelector(".notification");
    this.onLanguageChange = onLanguageChange;
  }

  /** Draws header and footer in the current language; `user` is null before sign-in. */
  draw(user) {
    const focused = this.header.contains(document.activeElement) && document.activeElement.lang;
    document.documentElement.lang = language();
    setText(document.querySelector(".skip"), t("skip"));
    this.connection = h("span", { class: "connection", role: "status" });
    this.nav = h(
      "nav",
      { "aria-label": t("nav.label") },
      Object.entries(LINKS).map(([href, key]) => h("a", { href }, t(key))),
    );
    replace(
      this.header,
      h("a", { class: "brand", href: "/sync-status" }, logo(), h("span", {}, t("app"))),
      user ? this.nav : null,
      h(
        "div",
        { class: "right" },
        user ? this.connection : null,
        this.#languages(),
        user ? this.#user(user) : null,
      ),
    );
    replace(
      this.footer,
      h("p", {}, t("footer.times", { zone: timeZone() })),
      h("p", {}, t("footer.days")),
    );
    this.setConnection(this.#connection);
    this.markCurrentLink();
    if (focused) this.header.querySelector(`button[lang="${focused}"]`)?.focus();
  }

  /** Marks the navigation link of the current view. */
  markCurrentLink() {
    for (const link of this.nav.children) {
      const isCurrent = link.getAttribute("href") === location.pathname;
      setAttribute(link, "aria-current", isCurrent ? "page" : null);
    }
  }

  /** Shows the state of the live connection: "live", "disconnected" or "paused". */
  setConnection(state) {
    this.#connection = state;
    this.#wasLive ||= state === "live";
    if (!this.connection) return;
    const name = state === "live" ? "live" : this.#wasLive ? "reconnecting" : "connecting";
    this.connection.className = `connection ${name}`;
    setText(this.connection, t(`connection.${name}`));
  }

  #languages() {
    return h(
      "div",
      { class: "languages", role: "group", "aria-label": t("language") },
      Object.entries(LANGUAGES).map(([code, name]) =>
        h(
          "button",
          {
            type: "button",
            lang: code,
            "aria-pressed": String(code === language()),
            onclick: () => {
              setLanguage(code);
              this.onLanguageChange();
            },
          },
          name,
        ),
      ),
    );
  }

  #user({ user, role }) {
    if (user === "local") return null;
    const onSignOut = async () => {
      await signOut().catch(() => null);
      location.assign("/sync-status");
    };
    const button = h(
      "button",
      { type: "button", class: "plain small", onclick: onSignOut },
      t("signIn.signOut"),
    );
    return h("span", { class: "user" }, h("span", { title: t(`role.${role}`) }, user), button);
  }

  /** Shows a notification for a few seconds; one of kind "problem" for longer. */
  notify(text, kind = "done") {
    clearTimeout(this.#notificationTimer);
    replace(this.notification, h("p", { class: kind }, text));
    const shownFor = kind === "problem" ? PROBLEM_MS : NOTIFICATION_MS;
    this.#notificationTimer = setTimeout(() => replace(this.notification), shownFor);
  }
}

function logo() {
  const squares = [0, 1, 2].flatMap((y) => [0, 1, 2].map((x) => [x, y]));
  return svg(
    "svg",
    { viewBox: "0 0 17 17", "aria-hidden": "true" },
    squares.map(([x, y]) =>
      svg("rect", {
        x: x * 6 + 0.5,
        y: y * 6 + 0.5,
        width: 4,
        height: 4,
        rx: 0.8,
        class: x === 1 && y === 1 ? "missing" : "synced",
      }),
    ),
  );
}
