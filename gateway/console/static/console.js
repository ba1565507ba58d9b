// The console's own script: what plain pages cannot do. Everything works without it but streaming.
"use strict";

// A form that was sent is not sent twice by a second click.
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (form.dataset.sent || event.defaultPrevented) { event.preventDefault(); return; }
  if (form.method !== "post" || form.matches("[data-stream]")) return;
  form.dataset.sent = "yes";
  for (const button of form.querySelectorAll("button")) button.setAttribute("aria-busy", "true");
});
addEventListener("pageshow", () => {
  for (const form of document.forms) delete form.dataset.sent;
  for (const button of document.querySelectorAll("[aria-busy]")) button.removeAttribute("aria-busy");
});

// A dialog is opened by its button; without a script its content is there all the time.
document.addEventListener("click", (event) => {
  const opener = event.target.closest("[data-opens]");
  if (opener) document.getElementById(opener.dataset.opens).showModal();
  const closer = event.target.closest("[data-closes]");
  if (closer) closer.closest("dialog").close();
  const copier = event.target.closest("[data-copies]");
  if (copier) {
    navigator.clipboard.writeText(document.getElementById(copier.dataset.copies).textContent);
    copier.textContent = "Copied";
  }
});

// On a phone the menu is a button; it tells whether it is open.
const menu = document.querySelector("details.menu");
if (menu) menu.addEventListener("toggle", () => document.body.classList.toggle("menu-open", menu.open));
