// The dialog that asks the user to confirm an action.

import { h } from "./dom.js";
import { t } from "./i18n.js";

let count = 0;

/**
 * Opens the dialog and resolves to whether the user confirmed. Escape declines, and the focus
 * returns to where it was. `danger` styles the confirming button as destructive.
 */
export function confirm({ title, text, yes, no = t("dialog.no"), danger = false }) {
  return new Promise((resolve) => {
    count += 1;
    const titleId = `confirm-${count}`;
    const textId = `${titleId}-text`;
    const dialog = h(
      "dialog",
      { class: "confirm", "aria-labelledby": titleId, "aria-describedby": textId },
      h(
        "form",
        { method: "dialog" },
        h("h2", { id: titleId }, title),
        h("p", { id: textId }, text),
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
