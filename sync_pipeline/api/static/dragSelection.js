// Selecting days on a calendar with the mouse: by dragging, with Shift, or one after the other.

/**
 * Lets the pointer select days on the calendars in `element`. A click on a day calls `onOpen(dataset, day)`,
 * unless Shift is held or `isPicking()`: then it begins a selection, or extends it.
 */
export function dragSelects(element, selection, { isPicking, onOpen }) {
  let from = null;
  let moved = false;

  const at = (target) => {
    const cell = target.closest?.("[data-day]");
    if (!cell || !element.contains(cell)) return null;
    return { day: cell.dataset.day, dataset: cell.closest("[data-dataset]").dataset.dataset, cell };
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    from = at(event.target);
    moved = false;
    if (from && event.shiftKey) event.preventDefault(); // no text is to be selected
  });
  element.addEventListener("pointermove", (event) => {
    if (!event.buttons) from = null;
    const here = from && at(document.elementFromPoint(event.clientX, event.clientY) ?? element);
    if (!here || here.dataset !== from.dataset || (here.day === from.day && !moved)) return;
    moved = true;
    selection.set(from.dataset, from.day, here.day);
  });
  element.addEventListener("click", (event) => {
    const here = at(event.target);
    if (!here || moved) {
      moved = false;
      return;
    }
    if (event.shiftKey) selection.extend(here.dataset, here.day);
    else if (isPicking()) pick(here);
    else onOpen(here.dataset, here.day);
  });

  /** The first pick begins a selection of one day, the second extends it, the third begins anew. */
  function pick({ dataset, day }) {
    if (selection.anchor !== null && selection.anchor === selection.head)
      selection.extend(dataset, day);
    else selection.set(dataset, day);
  }
}
