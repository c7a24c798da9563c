// A box of the graph under the pointer or the focus marks its row in the table of tensors, and the other way round.
"use strict";
for (const box of document.querySelectorAll("a.box")) {
  const row = document.getElementById(box.dataset.tensor);
  const mark = (on) => () => { row.classList.toggle("marked", on); box.classList.toggle("marked", on); };
  for (const element of [box, row]) {
    element.addEventListener("mouseenter", mark(true));
    element.addEventListener("mouseleave", mark(false));
  }
  box.addEventListener("focus", mark(true));
  box.addEventListener("blur", mark(false));
}
