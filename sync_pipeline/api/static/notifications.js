// What is worth telling of the batches at work: that one of them is over.

import { nameOf } from "./recordActions.js";
import { t } from "./i18n.js";

const working = new Set();

/** Returns what is to be said of records that changed: null, or `{text, kind}`. */
export function newsOf(records) {
  let news = null;
  for (const record of records) {
    if (record.kind !== "batch") continue;
    if (record.status === "syncing") working.add(record.id);
    else if (working.delete(record.id)) {
      const how = record.cancelled_by && record.status === "failed" ? "cancelled" : record.status;
      const values = { what: nameOf(record), n: record.failed_count, who: record.cancelled_by };
      news = { text: t(`news.${how}`, values), kind: how === "failed" ? "problem" : "done" };
    }
  }
  return news;
}
