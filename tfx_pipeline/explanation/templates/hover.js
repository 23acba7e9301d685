// Tells what is under the pointer, at once, and marks the events of the same basket.
(() => {
  const box = document.createElement("div");
  box.id = "told";
  box.hidden = true;
  document.body.append(box);
  const told = new Map();
  for (const title of document.querySelectorAll(".line title")) {
    told.set(title.parentNode, title.textContent);
    title.remove();
  }
  const mark = (basket, on) => basket && document.querySelectorAll(`[data-basket="${basket}"]`)
    .forEach((dot) => dot.classList.toggle("same", on));
  const show = ({ target }) => {
    if (!told.has(target)) return;
    box.textContent = told.get(target);
    box.hidden = false;
    const at = target.getBoundingClientRect(), half = box.offsetWidth / 2, wide = document.documentElement.clientWidth;
    box.style.left = `${Math.min(Math.max(at.left + at.width / 2, half + 4), wide - half - 4) + scrollX}px`;
    box.style.top = `${at.top + scrollY}px`;
    mark(target.dataset.basket, true);
  };
  const hide = ({ target }) => {
    if (!told.has(target)) return;
    box.hidden = true;
    mark(target.dataset.basket, false);
  };
  document.addEventListener("pointerover", show);
  document.addEventListener("pointerout", hide);
})();
