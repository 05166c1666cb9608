// Describes a day of a coverage: as a tooltip, and as one text for screen readers.

import { h } from "./dom.js";
import { formatDuration, formatFullDay, formatNumber, formatTime } from "./format.js";
import { t } from "./i18n.js";
import { remainingRows } from "./remainingRows.js";
import { StateLabel } from "./states.js";

const MAX_ERROR_LENGTH = 220; // characters

function dayFacts(day) {
  const facts = [];
  if (day.state === "success" || day.state === "rejected")
    facts.push(t("rows", { n: formatNumber(day.rows) }));
  if (day.state === "resync_failed") facts.push(remainingRows(day));
  if (day.rows_rejected) facts.push(t("day.rejected", { n: formatNumber(day.rows_rejected) }));
  if (day.duration_seconds !== null && day.end_time) {
    facts.push(t("pace.took", { time: formatDuration(day.duration_seconds) }));
  }
  if (day.end_time) facts.push(t("day.ended", { time: formatTime(day.end_time) }));
  return facts;
}

/** Returns the description of a day as one text. */
export const dayDescription = (day) =>
  [day.day, t(`state.${day.state}`), ...dayFacts(day), day.error_message ?? day.warning ?? ""]
    .filter(Boolean)
    .join(t("separator"));

/** Returns the description of a day as children of a tooltip. */
export function dayTooltip(day) {
  const error = day.error_message ?? day.warning ?? "";
  const short = error.length > MAX_ERROR_LENGTH ? `${error.slice(0, MAX_ERROR_LENGTH)}…` : error;
  return [
    h("strong", {}, day.day),
    h("span", { class: "secondary" }, formatFullDay(day.day)),
    h("span", { class: "fact" }, new StateLabel(day.state).element),
    dayFacts(day).map((fact) => h("span", { class: "fact" }, fact)),
    short ? h("span", { class: "error", lang: "en" }, short) : null,
  ];
}
