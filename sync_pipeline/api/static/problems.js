// What went wrong, in the reader's language. The API says it in one word (`code`) with what it is
// about (`params`); a word that has no text here is shown as what kind of problem it is, and then
// the API's own sentence, which is English. What the page knows as well as the API it says by itself.

import { h } from "./dom.js";
import en from "./en.js";
import { t } from "./i18n.js";

const KINDS = [401, 403, 404, 409, 422, 429, 503];

/** The words for a problem, as children of an element. */
export function problemWords(problem) {
  if (!problem.status) return [problem.message];
  const name = `problem.${problem.code}`;
  if (name in en) return [t(name, problem.params ?? {})];
  const kind = KINDS.includes(problem.status) ? problem.status : "other";
  return [t(`problem.${kind}`), " ", h("span", { lang: "en" }, problem.message)];
}

/** The words for what is wrong with the days of a request for a dataset. */
export function daysWords(problem, { start_date: first, end_date: last }, dataset) {
  const { name, first_day: earliest, last_day: latest } = dataset;
  if (problem.field === "start_date" && last < first) return [t("launch.reversed")];
  if (problem.field === "start_date" && first < earliest) {
    return [t("launch.early", { dataset: name, day: earliest })];
  }
  if (problem.field === "end_date" && last > latest) {
    return [t("launch.late", { dataset: name, day: latest })];
  }
  return problemWords(problem);
}
