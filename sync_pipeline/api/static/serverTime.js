// The server's clock, taken from the Date header of its responses: the local clock may be wrong.

let offset = 0; // milliseconds by which the server's clock is ahead of the local one

/** Updates the offset from a response's Date header. */
export function recordServerTime(header) {
  const time = Date.parse(header ?? "");
  if (!Number.isNaN(time)) offset = time - Date.now();
}

/** Returns the server's current time in milliseconds, accurate to a second or two. */
export const serverNow = () => Date.now() + offset;
