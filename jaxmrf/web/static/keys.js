// Single keys for what the mouse does; none of them while something is typed.

import { $, element } from "./dom.js";

const KEPT = "single-keys";
const ARROWS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓" };
const bound = [];

// Binds keys to what they do.
export function bind(keys, words, does) {
  bound.push({ keys, words, does });
}

// Whether a key belongs to what has the focus: a field, a list of choices, a slider, a dialog.
function isTaken(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return true;
  if (document.querySelector("dialog[open]")) return true;
  const field = event.target.closest?.("input, select, textarea");
  if (!field) return false;
  const typed = !["range", "radio", "checkbox", "file"].includes(field.type);
  return typed || event.key.startsWith("Arrow");
}

function press(event) {
  if (isTaken(event) || !$("single-keys").checked) return;
  const key = event.shiftKey && event.key.startsWith("Arrow") ? `Shift+${event.key}` : event.key;
  for (const { keys, does } of bound) {
    if (!keys.includes(key)) continue;
    does(key);
    event.preventDefault();
  }
}

function nameOf(key) {
  const plain = key.replace("Shift+", "");
  return `${key === plain ? "" : "⇧ "}${ARROWS[plain] ?? plain}`;
}

function list() {
  for (const { keys, words } of bound) {
    const named = keys.map((key) => element("kbd", { textContent: nameOf(key) }));
    $("key-list").append(element("div", {}, element("dt", {}, ...named), element("dd", { textContent: words })));
  }
}

export function setUpKeys() {
  bind(["?"], "This list", () => $("keys").showModal());
  list();
  $("single-keys").checked = localStorage.getItem(KEPT) !== "no";
  $("single-keys").addEventListener("change", () => localStorage.setItem(KEPT, $("single-keys").checked ? "yes" : "no"));
  $("show-keys").addEventListener("click", () => $("keys").showModal());
  $("hide-keys").addEventListener("click", () => $("keys").close());
  document.addEventListener("keydown", press);
}
