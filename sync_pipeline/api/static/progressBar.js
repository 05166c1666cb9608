// The progress of a batch, as a bar divided by outcome and as text.

import { h, setAttribute, setVariable } from "./dom.js";
import { formatNumber } from "./format.js";
import { t } from "./i18n.js";

const PARTS = { success: "success_count", skipped: "skipped_count", failed: "failed_count" };

export class ProgressBar {
  #parts = {};

  constructor(label) {
    this.element = h("div", { class: "bar", role: "progressbar", "aria-valuemin": 0 });
    setAttribute(this.element, "aria-label", label);
    for (const name of Object.keys(PARTS)) {
      this.#parts[name] = h("i", { class: name });
      this.element.append(this.#parts[name]);
    }
  }

  update(record) {
    const total = Math.max(1, record.total_days);
    for (const [name, column] of Object.entries(PARTS)) {
      setVariable(this.#parts[name], "--share", (record[column] / total).toFixed(5));
    }
    setAttribute(this.element, "aria-valuemax", record.total_days);
    setAttribute(this.element, "aria-valuenow", record.done_days);
    setAttribute(this.element, "aria-valuetext", progressText(record));
    this.element.classList.toggle("running", record.status === "syncing");
  }
}

/** Returns the progress of a batch as text, such as "3 of 10 days, 1 failed". */
export function progressText(record) {
  const { done_days: done, total_days: total } = record;
  const parts = [
    record.status === "syncing" || done < total
      ? t("progress.of", { done: formatNumber(done), total: formatNumber(total) })
      : t("progress.all", { total }),
  ];
  if (record.failed_count) parts.push(t("count.failed", { n: record.failed_count }));
  if (record.skipped_count) parts.push(t("count.skipped", { n: record.skipped_count }));
  return parts.join(t("separator"));
}
