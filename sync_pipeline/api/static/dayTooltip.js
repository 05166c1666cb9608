// What a day's tooltip says, and the same as one sentence for who does not see it.

import { h } from "./dom.js";
import { duration, fullDay, moment, number } from "./format.js";
import { t } from "./i18n.js";
import { StateMark } from "./states.js";

const MOST_OF_AN_ERROR = 220; // characters

/** The facts of a day of a coverage in words, each of them that it has. */
export function dayFacts(day) {
  const facts = [];
  if (day.state === "success" || day.state === "rejected")
    facts.push(t("rows", { n: number(day.rows) }));
  if (day.rows_rejected) facts.push(t("day.rejected", { n: number(day.rows_rejected) }));
  if (day.duration_seconds !== null && day.end_time) {
    facts.push(t("pace.took", { time: duration(day.duration_seconds) }));
  }
  if (day.end_time) facts.push(t("day.ended", { time: moment(day.end_time) }));
  return facts;
}

/** A day as one sentence. */
export const dayWords = (day) =>
  [day.day, t(`state.${day.state}`), ...dayFacts(day), day.error_message ?? ""]
    .filter(Boolean)
    .join(t("separator"));

/** A day as a tooltip. */
export function dayTip(day) {
  const error = day.error_message ?? "";
  const short = error.length > MOST_OF_AN_ERROR ? `${error.slice(0, MOST_OF_AN_ERROR)}…` : error;
  return [
    h("strong", {}, day.day),
    h("span", { class: "second" }, fullDay(day.day)),
    h("span", { class: "fact" }, new StateMark(day.state).element),
    dayFacts(day).map((fact) => h("span", { class: "fact" }, fact)),
    short ? h("span", { class: "error", lang: "en" }, short) : null,
  ];
}
