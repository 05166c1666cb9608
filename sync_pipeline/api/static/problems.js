// Translates problems of the API into the user's language, by `code` and `params`. A code without a
// text here is shown as the kind of problem followed by the API's English message.

import { h } from "./dom.js";
import en from "./en.js";
import { t } from "./i18n.js";

const STATUSES = [401, 403, 404, 409, 422, 429, 503];

/** Returns the text of a problem as children of an element. */
export function describeProblem(problem) {
  if (!problem.status) return [problem.message];
  const key = `problem.${problem.code}`;
  if (key in en) return [t(key, problem.params ?? {})];
  const kind = STATUSES.includes(problem.status) ? problem.status : "other";
  return [t(`problem.${kind}`), " ", h("span", { lang: "en" }, problem.message)];
}

/**
 * Returns the text of a problem with a launch request. Checks the date range here first, because
 * the page knows the dataset's first and last day.
 */
export function describeLaunchProblem(problem, { start_date: first, end_date: last }, dataset) {
  const { name, first_day: earliest, last_day: latest } = dataset;
  if (problem.field === "start_date" && last < first) return [t("launch.reversed")];
  if (problem.field === "start_date" && first < earliest) {
    return [t("launch.early", { dataset: name, day: earliest })];
  }
  if (problem.field === "end_date" && last > latest) {
    return [t("launch.late", { dataset: name, day: latest })];
  }
  return describeProblem(problem);
}
