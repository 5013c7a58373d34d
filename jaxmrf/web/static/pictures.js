// The wells of the form: pictures that are dropped, pasted, chosen or taken from the examples.

import { $, element, setText } from "./dom.js";
import { Refused, ask } from "./api.js";
import { state, tell } from "./state.js";

export const KINDS = ["content", "style"];
const KIND_NAMES = { content: "photograph", style: "painting" };

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

export function choose(kind, picture) {
  state.uploads[kind] = null; // one that is under way is no longer what is wanted
  state.chosen[kind] = picture;
  const { box, image, note, examples } = well(kind);
  box.classList.remove("wrong", "busy");
  image.src = `/api/pictures/${picture.id}`;
  image.alt = picture.title;
  image.hidden = false;
  image.onerror = () => complainAtWell(`this ${KIND_NAMES[kind]} is no longer kept; choose it again`, kind);
  setText(note, picture.width ? `${picture.title}, ${picture.width}×${picture.height}` : picture.title);
  for (const button of examples.children) {
    button.setAttribute("aria-pressed", String(button.dataset.id === picture.id));
  }
  tell("form");
}

export function complainAtWell(message, kind) {
  const { box, note } = well(kind);
  box.classList.add("wrong");
  setText(note, message);
}

// Uploads a file; the last one counts, however long an earlier one takes. Start waits for it.
function bring(kind, file) {
  const upload = send(kind, file, () => state.uploads[kind] === upload);
  state.uploads[kind] = upload;
}

async function send(kind, file, isLast) {
  await null; // so that the caller knows it as the last
  const { box } = well(kind);
  try {
    if (file.size > state.form.max_bytes) {
      throw new Refused(`this file is larger than ${state.form.max_bytes / 1e6} MB`);
    }
    box.classList.add("busy");
    const query = new URLSearchParams({ name: file.name || "pasted.png" });
    const picture = await ask("POST", `/api/pictures?${query}`, file);
    if (isLast()) choose(kind, picture);
    return true;
  } catch (error) {
    if (!isLast()) return true;
    state.uploads[kind] = null;
    box.classList.remove("busy");
    complainAtWell(error.message, kind);
    return false;
  }
}

// Waits for what is being uploaded; returns whether all of it arrived.
export async function allUploads() {
  for (const kind of KINDS) {
    while (state.uploads[kind]) if (!(await state.uploads[kind])) return false;
  }
  return true;
}

// Takes what was dropped or pasted: one file for the well it is on, or two for both.
function bringAll(kind, files) {
  if (files.length > 1) KINDS.forEach((one, number) => bring(one, files[number]));
  else if (files.length) bring(kind, files[0]);
  else complainAtWell("this is no file; save the picture first, then drop or choose its file", kind);
}

function setUpWell(kind) {
  const { box, input, examples } = well(kind);
  input.addEventListener("change", () => {
    if (input.files.length) bring(kind, input.files[0]);
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
    bringAll(kind, event.dataTransfer.files);
  });
  for (const example of state.form.examples.filter((one) => one.kind === kind)) {
    const name = example.title.replace(/\.[a-z]+$/, "").replaceAll("-", " ");
    const image = element("img", { src: `/api/pictures/${example.id}`, alt: name });
    const button = element("button", { type: "button", title: name }, image);
    button.dataset.id = example.id;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => choose(kind, example));
    examples.append(button);
  }
}

function nextWell() {
  const inside = document.activeElement?.closest?.(".well");
  return inside?.dataset.kind ?? (state.chosen.content ? "style" : "content");
}

export function setUpWells() {
  KINDS.forEach(setUpWell);
  document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files].filter((one) => one.type.startsWith("image/"));
    if (files.length || !event.target.closest?.("input, select")) bringAll(nextWell(), files);
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    bringAll(nextWell(), event.dataTransfer.files);
  });
}
