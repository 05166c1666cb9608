// Making elements. What is shown goes in as text, never as markup.

const SVG = "http://www.w3.org/2000/svg";

/**
 * Returns a new element. A property that begins with "on" is a listener, any other an attribute;
 * true is an attribute without a value, false and null are none. A child is a node or a text;
 * null is left out.
 */
export function h(tag, properties = {}, ...children) {
  return fill(document.createElement(tag), properties, children);
}

/** Returns a new SVG element. */
export function svg(tag, properties = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), properties, children);
}

function fill(element, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...present(children));
  return element;
}

function present(children) {
  return children
    .flat(9)
    .filter((child) => child !== null && child !== undefined && child !== false);
}

/** Puts these children in the place of an element's own. */
export function replace(element, ...children) {
  element.replaceChildren(...present(children));
}

/** Changes an element's text if it differs, so that a selection in it is not lost for nothing. */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** Sets an attribute if it differs; null takes it away. */
export function setAttribute(element, name, value) {
  if (value === null || value === false) element.removeAttribute(name);
  else if (element.getAttribute(name) !== String(value)) element.setAttribute(name, String(value));
}

/** Sets a CSS variable. */
export function setVariable(element, name, value) {
  element.style.setProperty(name, String(value));
}

/** Returns a function that calls `action` once it has not been called again for so long. */
export function debounced(action, milliseconds) {
  let timer = 0;
  const later = (...given) => {
    clearTimeout(timer);
    timer = setTimeout(() => action(...given), milliseconds);
  };
  later.cancel = () => clearTimeout(timer);
  return later;
}

/** Returns a function that calls `action` at once, and then at most once in so long. */
export function throttled(action, milliseconds) {
  let timer = 0;
  let last = -Infinity;
  const soon = () => {
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
  soon.cancel = () => clearTimeout(timer);
  return soon;
}
