// The rows of a day that the target still contains after its latest attempt failed.

import { formatFullTime, formatNumber } from "./format.js";
import { t } from "./i18n.js";

/** Describes these rows; `day` is a record or a day of a coverage. */
export const remainingRows = (day) =>
  t("day.remaining", {
    n: formatNumber(day.standing_rows),
    time: formatFullTime(day.standing_since),
  });
