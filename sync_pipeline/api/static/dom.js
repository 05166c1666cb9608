// Helpers that create and update elements. Content is always inserted as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Returns a new HTML element. A property whose name starts with "on" becomes an event listener, any
 * other an attribute; true sets an attribute without a value; false, null and undefined set nothing.
 * A child is a node or a string; null, undefined and false are ignored.
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Returns a new SVG element; arguments as for `h`. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...flatten(children));
  return element;
}

function flatten(children) {
  return children
    .flat(9)
    .filter((child) => child !== null && child !== undefined && child !== false);
}

/** Replaces the children of an element. */
export function replace(element, ...children) {
  element.replaceChildren(...flatten(children));
}

/** Sets an element's text only if it differs, so that a text selection in it is not lost. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute only if it differs; null and false remove it. */
export function setAttribute(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Sets a CSS variable on an element. */
export function setVariable(element, name, value) {
  element.style.setProperty(name, String(value));
}

/** Returns a function that calls `action` when it has not been called for `milliseconds`. */
export function debounce(action, milliseconds) {
  let timer = 0;
  const debounced = (...values) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...values), milliseconds);
  };
  debounced.cancel = () => clearTimeout(timer);
  return debounced;
}

/** Returns a function that calls `action` at most once in `milliseconds`, the first time at once. */
export function throttle(action, milliseconds) {
  let timer = 0;
  let last = -Infinity;
  const throttled = () => {
    if (timer) return;
    timer = setTimeout(
      () => {
        timer = 0;
        last = performance.now();
        action();
      },
      Math.max(0, last + milliseconds - performance.now()),
    );
  };
  throttled.cancel = () => clearTimeout(timer);
  return throttled;
}
