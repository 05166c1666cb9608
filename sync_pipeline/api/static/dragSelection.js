// Selects days on a calendar with the pointer: by dragging, Shift-clicking, or two clicks.

/**
 * Lets the pointer select days on the calendars in `element`. A click on a day calls
 * `onOpen(dataset, day)`, unless Shift is pressed or `isSelecting()`: then it starts or extends the
 * selection.
 */
export function enableDragSelection(element, selection, { isSelecting, onOpen }) {
  let start = null;
  let moved = false;

  const dayAt = (target) => {
    const cell = target.closest?.("[data-day]");
    if (!cell || !element.contains(cell)) return null;
    return { day: cell.dataset.day, dataset: cell.closest("[data-dataset]").dataset.dataset };
  };

  element.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || event.pointerType === "touch") return;
    start = dayAt(event.target);
    moved = false;
    if (start && event.shiftKey) event.preventDefault(); // do not select text
  });
  element.addEventListener("pointermove", (event) => {
    if (!event.buttons) start = null;
    const here = start && dayAt(document.elementFromPoint(event.clientX, event.clientY) ?? element);
    if (!here || here.dataset !== start.dataset || (here.day === start.day && !moved)) return;
    moved = true;
    selection.set(start.dataset, start.day, here.day);
  });
  element.addEventListener("click", (event) => {
    const here = dayAt(event.target);
    if (!here || moved) {
      moved = false;
      return;
    }
    if (event.shiftKey) selection.extend(here.dataset, here.day);
    else if (isSelecting()) select(here);
    else onOpen(here.dataset, here.day);
  });

  /** The first click selects one day, the second extends the selection, the third starts over. */
  function select({ dataset, day }) {
    if (selection.anchor !== null && selection.anchor === selection.end)
      selection.extend(dataset, day);
    else selection.set(dataset, day);
  }
}
