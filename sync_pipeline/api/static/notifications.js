// The notification shown when a running batch ends.

import { t } from "./i18n.js";
import { recordName } from "./recordActions.js";

const running = new Set();

/** Returns the notification for changed records as `{text, kind}`, or null if no batch ended. */
export function notificationFor(records) {
  let notification = null;
  for (const record of records) {
    if (record.kind !== "batch") continue;
    if (record.status === "syncing") running.add(record.id);
    else if (running.delete(record.id)) {
      const isCancelled = record.cancelled_by && record.status === "failed";
      const outcome = isCancelled ? "cancelled" : record.status;
      const values = { what: recordName(record), n: record.failed_count, who: record.cancelled_by };
      notification = {
        text: t(`notification.${outcome}`, values),
        kind: outcome === "failed" ? "problem" : "done",
      };
    }
  }
  return notification;
}
