// The form as a whole: what it asks the server for, and what a reload keeps of it.

import { $, setText } from "./dom.js";
import { ask } from "./api.js";
import { look, on, state, tell } from "./state.js";
import { KINDS, allUploads, choose, complainAtWell, setUpWells } from "./pictures.js";
import { bind } from "./keys.js";
import { complainAtControl, field, fill, isControl, options, setUpControls } from "./controls.js";

const PREPARE_AFTER = 300;
const AGAIN_AFTER = 600;
const QUICK_SIZE = 256;

export function complain(message, control) {
  setText($("problem"), "");
  if (KINDS.includes(control)) complainAtWell(message, control);
  else if (control && isControl(control)) complainAtControl(message, control);
  else setText($("problem"), message);
}

function remember() {
  sessionStorage.setItem("form", JSON.stringify({ chosen: state.chosen, values: options() }));
}

function recall() {
  try {
    const kept = JSON.parse(sessionStorage.getItem("form"));
    fill(kept.values);
    for (const kind of KINDS) if (kept.chosen[kind]) choose(kind, kept.chosen[kind]);
  } catch {
    sessionStorage.removeItem("form");
  }
}

function wanted(more = {}) {
  return { content: state.chosen.content?.id, style: state.chosen.style?.id, options: { ...options(), ...more } };
}

let preparing = 0;
function prepareSoon() {
  clearTimeout(preparing);
  const own = setTimeout(async () => {
    if (!state.chosen.content || !state.chosen.style) return;
    const isLast = () => preparing === own; // else the answer is about what the form was
    try {
      await ask("POST", "/api/prepare", wanted());
      if (isLast()) setText($("problem"), "");
    } catch (error) {
      if (isLast() && error.control) complain(error.message, error.control);
    }
  }, PREPARE_AFTER);
  preparing = own;
}

let starting = false;

// Starts one run, however often it is asked for meanwhile: a double click is one wish.
async function start(more = {}) {
  if (starting) return;
  starting = true;
  for (const name of ["start", "quick"]) $(name).setAttribute("aria-disabled", "true");
  const early = new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
  clearTimeout(preparing);
  preparing = 0;
  setText($("problem"), "");
  try {
    await startNow(more);
  } catch (error) {
    complain(error.message, error.control);
    const first = document.querySelector(".wrong input, .wrong select");
    first?.focus();
  }
  await early;
  for (const name of ["start", "quick"]) $(name).removeAttribute("aria-disabled");
  starting = false;
}

function startQuickly() {
  const size = Number(field("size").value);
  start({ size: String(size > 0 && size < QUICK_SIZE ? size : QUICK_SIZE) });
}

async function startNow(more) {
  if (state.uploads.content || state.uploads.style) {
    setText($("problem"), "Starts when the picture is uploaded.");
    const arrived = await allUploads();
    setText($("problem"), "");
    if (!arrived) return;
  }
  const run = await ask("POST", "/api/runs", wanted(more));
  tell("run", run);
  tell("started");
  look(run.id);
  $("stage").scrollIntoView(); // on a phone it is below the form
}

function again(run) {
  for (const kind of KINDS) {
    choose(kind, { id: run[kind], title: run[`${kind}_title`] });
  }
  fill(run.values);
  remember();
  field("size").focus();
}

export function setUpForm() {
  setUpControls();
  setUpWells();
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("quick").addEventListener("click", startQuickly);
  bind(["s"], "Start", () => start());
  bind(["q"], "Quick look", startQuickly);
  on("form", () => {
    remember();
    prepareSoon();
  });
  on("again", again);
  on("problem", ({ message, control }) => complain(message, control));
  // It was found out while it started; told where it can be mended, if that is still as it was.
  on("refused", (run) => {
    if (options()[run.control] === run.values[run.control]) complain(run.message, run.control);
  });
  recall();
}
