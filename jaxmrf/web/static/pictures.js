// The wells of the form: pictures that are dropped, pasted, chosen or taken from the examples.

import { $, element, setText } from "./dom.js";
import { Refused, ask } from "./api.js";
import { state, tell } from "./state.js";
import { stem } from "./words.js";

export const KINDS = ["content", "style"];
const KIND_NAMES = { content: "photograph", style: "painting" };
const LEAST = 0.02; // of a painting in a blend
const MOST = 16;

// Whether the next painting is added to those that are there.
let adds = false;

function well(kind) {
  const box = $(`well-${kind}`);
  return {
    box,
    input: box.querySelector("input"),
    image: box.querySelector(".drop img"),
    note: box.querySelector(".note"),
    examples: box.querySelector(".examples"),
  };
}

// Chooses pictures of a kind, at least one: the photograph, or paintings beside those that are
// there if that was asked for.
export function choose(kind, pictures, beside = adds) {
  state.uploads[kind] = null; // one that is under way is no longer what is wanted
  if (kind === "style") choosePaintings(beside ? [...state.chosen.style, ...pictures] : pictures);
  else {
    state.chosen.content = [pictures[0]];
    setSynthesis(false);
  }
  show(kind);
  tell("pictures");
  tell("form");
}

function choosePaintings(pictures) {
  state.chosen.style = pictures.slice(0, MOST);
  state.blend = state.chosen.style.map(() => 1 / state.chosen.style.length);
  setAdds(false);
}

function show(kind) {
  const { box, image, note, examples } = well(kind);
  const [picture] = state.chosen[kind];
  box.classList.remove("wrong", "busy");
  image.hidden = !picture;
  if (picture) {
    image.src = `/api/pictures/${picture.id}`;
    image.alt = picture.title;
    image.onerror = () => complainAtWell(`this ${KIND_NAMES[kind]} is no longer kept; choose it again`, kind);
  }
  const size = picture?.width ? `, ${picture.width}×${picture.height}` : "";
  setText(note, picture ? `${picture.title}${size}` : "");
  const ids = state.chosen[kind].map((one) => one.id);
  for (const button of examples.children) button.setAttribute("aria-pressed", String(ids.includes(button.dataset.id)));
  if (kind === "style") showPaintings();
}

// The paintings of a blend, each with its part; one alone needs none.
function showPaintings() {
  const several = state.chosen.style.length > 1;
  $("add").hidden = !state.chosen.style.length;
  $("blend").hidden = !several;
  $("paintings").replaceChildren(...(several ? state.chosen.style.map(blendRow) : []));
  showBlend();
}

function blendRow(picture, place) {
  const name = stem(picture.title);
  const slider = element("input", { type: "range", min: LEAST, max: 1, step: 0.01, ariaLabel: `Part of ${name}` });
  slider.addEventListener("input", () => {
    setPart(place, Number(slider.value));
    tell("form");
  });
  const remove = element("button", { type: "button", textContent: "×", ariaLabel: `Leave out ${name}`, title: "Leave out" });
  remove.addEventListener("click", () => {
    choosePaintings(state.chosen.style.filter((other) => other !== picture));
    show("style");
    tell("pictures");
    tell("form");
    ($("paintings").querySelector("button") ?? $("add")).focus();
  });
  const image = element("img", { src: `/api/pictures/${picture.id}`, alt: "", title: name });
  return element("li", {}, image, slider, element("output", {}), remove);
}

// Gives a painting its part; the others share the rest as they did before.
function setPart(place, part) {
  const kept = Math.min(Math.max(part, LEAST), 1 - LEAST * (state.blend.length - 1));
  const rest = state.blend.reduce((sum, other, number) => (number === place ? sum : sum + other), 0);
  state.blend = state.blend.map((other, number) => (number === place ? kept : Math.max(LEAST, (other / rest) * (1 - kept))));
  const sum = state.blend.reduce((one, other) => one + other);
  state.blend = state.blend.map((one) => one / sum);
  showBlend();
}

function showBlend() {
  for (const [place, row] of [...$("paintings").children].entries()) {
    const [, slider, output] = row.children;
    slider.value = state.blend[place];
    setText(output, `${Math.round(100 * state.blend[place])} %`);
    slider.setAttribute("aria-valuetext", output.textContent);
  }
}

// The blend as an option; none where all paintings have the same part.
export function blend() {
  const equal = state.blend.every((part) => Math.abs(part - 1 / state.blend.length) < 0.005);
  return equal ? {} : { style_blend: state.blend.map((part) => part.toFixed(2)).join(",") };
}

export function setBlend(text) {
  const parts = (text ?? "").split(",").map(Number);
  const sum = parts.reduce((one, other) => one + other);
  if (parts.length === state.chosen.style.length && sum > 0) state.blend = parts.map((part) => part / sum);
  showBlend();
}

function setAdds(wanted) {
  adds = wanted;
  $("add").setAttribute("aria-pressed", String(adds));
}

export function setSynthesis(wanted) {
  if (wanted === state.synthesis) return;
  state.synthesis = wanted;
  $("without").setAttribute("aria-pressed", String(wanted));
  $("well-content").classList.toggle("without", wanted);
  tell("synthesis");
}

export function complainAtWell(message, kind) {
  const { box, note } = well(kind);
  box.classList.add("wrong");
  setText(note, message);
}

// Uploads files; the last choice counts, however long an earlier one takes. Start waits for it.
function bring(kind, files) {
  const upload = send(kind, files, () => state.uploads[kind] === upload);
  state.uploads[kind] = upload;
}

async function send(kind, files, isLast) {
  await null; // so that the caller knows it as the last
  const { box } = well(kind);
  try {
    box.classList.add("busy");
    const pictures = await Promise.all(files.map(upload));
    if (isLast()) choose(kind, pictures);
    return true;
  } catch (error) {
    if (!isLast()) return true;
    state.uploads[kind] = null;
    box.classList.remove("busy");
    complainAtWell(error.message, kind);
    return false;
  }
}

export async function upload(file) {
  if (file.size > state.form.max_bytes) {
    throw new Refused(`this file is larger than ${state.form.max_bytes / 1e6} MB`);
  }
  const query = new URLSearchParams({ name: file.name || "pasted.png" });
  return ask("POST", `/api/pictures?${query}`, file);
}

// Waits for what is being uploaded; returns whether all of it arrived.
export async function allUploads() {
  for (const kind of KINDS) {
    while (state.uploads[kind]) if (!(await state.uploads[kind])) return false;
  }
  return true;
}

// Takes what was dropped or pasted: all files for the well of paintings, else the first is the
// photograph and the others are paintings.
function bringAll(kind, files, many) {
  const all = [...files];
  if (!all.length) complainAtWell("this is no file; save the picture first, then drop or choose its file", kind);
  else if (all.length === 1 || (kind === "style" && many)) bring(kind, all);
  else {
    bring("content", all.slice(0, 1));
    bring("style", all.slice(1));
  }
}

function setUpWell(kind) {
  const { box, input, examples } = well(kind);
  input.addEventListener("change", () => {
    if (input.files.length) bringAll(kind, input.files, true);
    input.value = "";
  });
  box.addEventListener("dragover", (event) => {
    event.preventDefault();
    box.classList.add("over");
  });
  box.addEventListener("dragleave", () => box.classList.remove("over"));
  box.addEventListener("drop", (event) => {
    event.preventDefault();
    event.stopPropagation();
    box.classList.remove("over");
    bringAll(kind, event.dataTransfer.files, true);
  });
  for (const example of state.form.examples.filter((one) => one.kind === kind)) {
    const name = stem(example.title);
    const image = element("img", { src: `/api/pictures/${example.id}`, alt: name });
    const button = element("button", { type: "button", title: name }, image);
    button.dataset.id = example.id;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(kind, [example]));
    examples.append(button);
  }
}

function nextWell() {
  const inside = document.activeElement?.closest?.(".well");
  return inside?.dataset.kind ?? (state.chosen.content.length || state.synthesis ? "style" : "content");
}

export function setUpWells() {
  KINDS.forEach(setUpWell);
  $("add").addEventListener("click", () => setAdds(!adds));
  $("without").addEventListener("click", () => {
    setSynthesis(!state.synthesis);
    tell("pictures");
    tell("form");
  });
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter((one) => one.type.startsWith("image/"));
    if (files.length || !event.target.closest?.("input, select")) bringAll(nextWell(), files, false);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    bringAll(nextWell(), event.dataTransfer.files, false);
  });
}
