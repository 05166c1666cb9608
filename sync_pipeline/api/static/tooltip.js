// One tooltip for the whole page: what stands behind a square, beside it.

import { h, replace, setVariable } from "./dom.js";

const GAP = 8;
const tip = h("div", { class: "tip", role: "tooltip", id: "tip", hidden: true });
document.body.append(tip);

/** Shows these children beside an element, or at a place in it given in pixels from its left. */
export function showTip(target, children, at = null) {
  replace(tip, children);
  tip.hidden = false;
  const box = target.getBoundingClientRect();
  const middle = at === null ? box.left + box.width / 2 : box.left + at;
  const { width, height } = tip.getBoundingClientRect();
  const left = Math.min(
    Math.max(GAP, middle - width / 2),
    document.documentElement.clientWidth - width - GAP,
  );
  const above = box.top - height - GAP;
  const top = above > GAP ? above : box.bottom + GAP;
  setVariable(tip, "--left", `${Math.round(left + window.scrollX)}px`);
  setVariable(tip, "--top", `${Math.round(top + window.scrollY)}px`);
}

export function hideTip() {
  tip.hidden = true;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && hideTip());
document.addEventListener("scroll", hideTip, { passive: true });
