// Questions that are asked before something cannot be taken back.

import { h } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

/**
 * Asks; resolves to whether the answer was yes. Escape is no, and the focus goes back to where it
 * was. `danger` marks a yes that ends something.
 */
export function ask({ title, text, yes, no = t("dialog.no"), danger = false }) {
  return new Promise((resolve) => {
    count += 1;
    const names = { "aria-labelledby": `ask-${count}`, "aria-describedby": `ask-${count}-text` };
    const dialog = h(
      "dialog",
      { class: "ask", ...names },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: `ask-${count}` }, title),
        h("p", { id: `ask-${count}-text` }, text),
        h(
          "div",
          { class: "choices" },
          h("button", { class: "plain", value: "no" }, no),
          h("button", { class: danger ? "danger" : "primary", value: "yes" }, yes),
        ),
      ),
    );
    dialog.addEventListener("close", () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    });
    document.body.append(dialog);
    dialog.showModal();
  });
}
