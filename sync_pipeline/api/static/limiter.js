// Doing many things some at a time.

/** Returns a function that runs actions, at most so many at once, in the order they come. */
export function inTurns(most) {
  const waiting = [];
  let running = 0;

  function next() {
    if (running >= most || !waiting.length) return;
    running += 1;
    const done = () => {
      running -= 1;
      next();
    };
    waiting.shift()().then(done, done);
  }

  return (action) =>
    new Promise((resolve, reject) => {
      waiting.push(() => action().then(resolve, reject));
      next();
    });
}
