// The server's clock, as its answers tell it: this machine's own may be wrong by hours.

let ahead = 0; // milliseconds that the server's clock is ahead of this machine's

/** Notes the time of an answer's header. */
export function noteTime(header) {
  const at = Date.parse(header ?? "");
  if (!Number.isNaN(at)) ahead = at - Date.now();
}

/** The moment it is at the server, in milliseconds; to a second or two. */
export const serverNow = () => Date.now() + ahead;
