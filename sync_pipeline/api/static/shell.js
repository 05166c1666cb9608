// What stands around every page: where one can go, whether it is live, which language, who.

import { signOut } from "./api.js";
import { h, replace, setAttribute, setText, svg } from "./dom.js";
import { zone } from "./format.js";
import { LANGUAGES, language, setLanguage, t } from "./i18n.js";

const PLACES = { "/sync-status": "nav.records", "/sync-status/calendar": "nav.calendar" };

export class Shell {
  #live = "lost";
  #seen = false;
  #timer = 0;

  constructor({ onLanguage }) {
    this.header = document.querySelector("header");
    this.footer = document.querySelector("footer");
    this.said = document.querySelector(".said");
    this.onLanguage = onLanguage;
  }

  /** Draws it anew, as for another language or another user. */
  draw(who) {
    const focused = this.header.contains(document.activeElement) && document.activeElement.lang;
    document.documentElement.lang = language();
    setText(document.querySelector(".skip"), t("skip"));
    this.state = h("span", { class: "live", role: "status" });
    this.nav = h(
      "nav",
      { "aria-label": t("nav.label") },
      Object.entries(PLACES).map(([href, name]) => h("a", { href }, t(name))),
    );
    replace(
      this.header,
      h("a", { class: "brand", href: "/sync-status" }, mark(), h("span", {}, t("app"))),
      who ? this.nav : null,
      h(
        "div",
        { class: "right" },
        who ? this.state : null,
        this.#languages(),
        who ? this.#who(who) : null,
      ),
    );
    replace(this.footer, h("p", {}, t("foot.times", { zone: zone() })), h("p", {}, t("foot.days")));
    this.live(this.#live);
    this.place();
    if (focused) this.header.querySelector(`button[lang="${focused}"]`)?.focus();
  }

  /** Marks the place that is shown now. */
  place() {
    for (const link of this.nav.children) {
      const here = link.getAttribute("href") === location.pathname;
      setAttribute(link, "aria-current", here ? "page" : null);
    }
  }

  /** Shows whether changes come in: "live", "lost", or "away" while the page does not listen. */
  live(state) {
    this.#live = state;
    this.#seen ||= state === "live";
    if (!this.state) return;
    const name = state === "live" ? "live" : this.#seen ? "lost" : "waiting";
    this.state.className = `live ${name}`;
    setText(this.state, t(`live.${name}`));
  }

  #languages() {
    return h(
      "div",
      { class: "languages", role: "group", "aria-label": t("language") },
      Object.entries(LANGUAGES).map(([name, text]) =>
        h(
          "button",
          {
            type: "button",
            lang: name,
            "aria-pressed": String(name === language()),
            onclick: () => {
              setLanguage(name);
              this.onLanguage();
            },
          },
          text,
        ),
      ),
    );
  }

  #who({ user, role }) {
    if (user === "local") return null;
    const leave = async () => {
      await signOut().catch(() => null);
      location.assign("/sync-status");
    };
    const out = h(
      "button",
      { type: "button", class: "plain small", onclick: leave },
      t("session.out"),
    );
    return h("span", { class: "who" }, h("span", { title: t(`role.${role}`) }, user), out);
  }

  /** Says what came of something, for a while; a problem for longer. */
  say(words, kind = "done") {
    clearTimeout(this.#timer);
    replace(this.said, h("p", { class: kind }, words));
    this.#timer = setTimeout(() => replace(this.said), kind === "problem" ? 15_000 : 6_000);
  }
}

function mark() {
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
        class: x === 1 && y === 1 ? "gap" : "in",
      }),
    ),
  );
}
