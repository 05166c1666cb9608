// Limits how many asynchronous actions run at the same time.

/** Returns a function that runs actions in order of arrival, at most `max` at once. */
export function createLimiter(max) {
  const waiting = [];
  let running = 0;

  function startNext() {
    if (running >= max || !waiting.length) return;
    running += 1;
    const onDone = () => {
      running -= 1;
      startNext();
    };
    waiting.shift()().then(onDone, onDone);
  }

  return (action) =>
    new Promise((resolve, reject) => {
      waiting.push(() => action().then(resolve, reject));
      startNext();
    });
}
