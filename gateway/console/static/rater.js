// Keys for raters: 1, 2, t, b choose, Enter goes on, u takes the last vote back. Nothing needs them.
"use strict";

const form = document.querySelector("form.votes");
const chosen = () => form && form.querySelector("[name=choice]:checked");

document.addEventListener("keydown", (event) => {
  if (!form || event.repeat || event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const key = event.key.toLowerCase();
  const pick = form.querySelector(`[data-key="${CSS.escape(key)}"]`);
  const undo = document.getElementById("undo");
  if (pick) {
    pick.checked = true;
  } else if (key === "enter" && !event.target.closest("button, a")) {
    if (chosen()) form.requestSubmit(); else form.reportValidity();
  } else if (key === "u" && !undo.disabled) {
    undo.click();
  } else {
    return;
  }
  event.preventDefault();
});

// What was sent once is not sent again by a second click.
document.addEventListener("submit", (event) => {
  if (event.target.dataset.sent) { event.preventDefault(); return; }
  event.target.dataset.sent = "yes";
});
addEventListener("pageshow", () => { for (const each of document.forms) delete each.dataset.sent; });
