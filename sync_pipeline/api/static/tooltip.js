// The tooltip of the page, one element that is moved to whatever it describes.

import { h, replace, setVariable } from "./dom.js";

const GAP = 8; // pixels
const tooltip = h("div", { class: "tooltip", role: "tooltip", id: "tooltip", hidden: true });
document.body.append(tooltip);

/** Shows `children` next to an element, centered on `offsetX` pixels from its left edge if given. */
export function showTooltip(target, children, offsetX = null) {
  replace(tooltip, children);
  tooltip.hidden = false;
  const box = target.getBoundingClientRect();
  const middle = offsetX === null ? box.left + box.width / 2 : box.left + offsetX;
  const { width, height } = tooltip.getBoundingClientRect();
  const left = Math.min(
    Math.max(GAP, middle - width / 2),
    document.documentElement.clientWidth - width - GAP,
  );
  const above = box.top - height - GAP;
  const top = above > GAP ? above : box.bottom + GAP;
  setVariable(tooltip, "--left", `${Math.round(left + window.scrollX)}px`);
  setVariable(tooltip, "--top", `${Math.round(top + window.scrollY)}px`);
}

export function hideTooltip() {
  tooltip.hidden = true;
}

document.addEventListener("keydown", (event) => event.key === "Escape" && hideTooltip());
document.addEventListener("scroll", hideTooltip, { passive: true });
