// The form as a whole: what it asks the server for, and what a reload keeps of it.

import { $, setText } from "./dom.js";
import { ask } from "./api.js";
import { look, on, state, tell } from "./state.js";
import { KINDS, allUploads, blend, choose, complainAtWell, setBlend, setSynthesis, setUpWells } from "./pictures.js";
import { bind } from "./keys.js";
import { longestOf, sizeOf } from "./sizes.js";
import { setUpBrush, showLabels } from "./brush.js";
import { complainAtControl, field, fill, isControl, options, setUpControls } from "./controls.js";

const PREPARE_AFTER = 300;
const AGAIN_AFTER = 600;
const QUICK_SIZE = 256;
const LABELS = ["content_guide", "style_guide", "mask"];
const BUTTONS = ["start", "quick", "vary-these"];

export function complain(message, control) {
  setText($("problem"), "");
  if (KINDS.includes(control)) complainAtWell(message, control);
  else if (LABELS.includes(control)) showLabels(message);
  else if (control === "style_blend") setText($("blend-note"), message);
  else if (control && isControl(control)) complainAtControl(message, control);
  else setText($("problem"), message);
}

function remember() {
  const { chosen, synthesis, labels } = state;
  sessionStorage.setItem("form", JSON.stringify({ chosen, synthesis, labels, values: { ...options(), ...blend() } }));
}

function recall() {
  try {
    takeIn(JSON.parse(sessionStorage.getItem("form")));
  } catch {
    sessionStorage.removeItem("form");
  }
}

// Fills the form with pictures and settings.
function takeIn({ chosen, synthesis, labels, values }) {
  for (const kind of KINDS) if (chosen[kind].length) choose(kind, chosen[kind], false);
  setSynthesis(synthesis);
  state.labels = labels;
  showLabels();
  fill(values);
  setBlend(values.style_blend);
}

// What a request says of the form.
export function bodyOfForm(more = {}) {
  const ids = (kind) => state.chosen[kind].map((picture) => picture.id);
  const body = { style: ids("style"), options: { ...options(), ...(state.chosen.style.length > 1 ? blend() : {}), ...more } };
  if (state.synthesis) return { command: "synthesize", ...body };
  return { content: ids("content"), ...body, ...state.labels };
}

// The same of a run.
export function bodyOfRun(run) {
  const command = run.inputs.content ? "transfer" : "synthesize";
  return { command, ...run.inputs, options: { ...run.values } };
}

let preparing = 0;
function prepareSoon() {
  clearTimeout(preparing);
  const own = setTimeout(async () => {
    if (!(state.chosen.content.length || state.synthesis) || !state.chosen.style.length) return;
    const isLast = () => preparing === own; // else the answer is about what the form was
    try {
      await ask("POST", "/api/prepare", bodyOfForm());
      if (isLast()) setText($("problem"), "");
    } catch (error) {
      if (isLast() && error.control) complain(error.message, error.control);
    }
  }, PREPARE_AFTER);
  preparing = own;
}

let starting = false;

// Does something with the form once, however often it is asked for meanwhile: a double click is
// one wish. Returns whether it could be done.
async function once(action) {
  if (starting) return false;
  starting = true;
  for (const name of BUTTONS) $(name).setAttribute("aria-disabled", "true");
  const early = new Promise((resolve) => setTimeout(resolve, AGAIN_AFTER));
  clearTimeout(preparing);
  preparing = 0;
  setText($("problem"), "");
  let done = false;
  try {
    if (await picturesArrived()) {
      await action();
      done = true;
    }
  } catch (error) {
    complain(error.message, error.control);
    focusOnProblem();
  }
  early.then(() => {
    for (const name of BUTTONS) $(name).removeAttribute("aria-disabled");
    starting = false;
  });
  return done;
}

function focusOnProblem() {
  const wrong = document.querySelector(".wrong");
  if (!wrong) return;
  if (wrong.dataset.name) field(wrong.dataset.name).focus();
  else wrong.querySelector("input, button")?.focus();
}

async function picturesArrived() {
  if (!state.uploads.content && !state.uploads.style) return true;
  setText($("problem"), "Starts when the picture is uploaded.");
  const arrived = await allUploads();
  setText($("problem"), "");
  return arrived;
}

// Whether the form would be taken; its faults are told beside their controls.
export const checkForm = () => once(() => ask("POST", "/api/prepare", bodyOfForm()));

const start = (more = {}) =>
  once(async () => {
    const run = await ask("POST", "/api/runs", bodyOfForm(more));
    tell("run", run);
    tell("started");
    look(run.id);
    $("stage").scrollIntoView(); // on a phone it is below the form
  });

function startQuickly() {
  const size = field("size").get();
  const longest = longestOf(size);
  start({ size: sizeOf({ ...options(), size }, longest > 0 && longest < QUICK_SIZE ? longest : QUICK_SIZE) });
}

function again(run) {
  const pictures = (kind) => (run.inputs[kind] ?? []).map((id, place) => ({ id, title: run.titles[kind][place] }));
  const labels = Object.fromEntries(LABELS.filter((role) => run.inputs[role]).map((role) => [role, run.inputs[role]]));
  takeIn({
    chosen: { content: pictures("content"), style: pictures("style") },
    synthesis: !run.inputs.content,
    labels,
    values: run.values,
  });
  remember();
  field("size").focus();
}

export function setUpForm() {
  setUpControls();
  setUpWells();
  setUpBrush();
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("quick").addEventListener("click", startQuickly);
  bind(["s"], "Start", () => start());
  bind(["q"], "Quick look", startQuickly);
  on("form", () => {
    setText($("blend-note"), "");
    remember();
    prepareSoon();
  });
  on("synthesis", () => showLabels());
  on("again", again);
  on("problem", ({ message, control }) => complain(message, control));
  // It was found out while it started; told where it can be mended, if that is still as it was.
  on("refused", (run) => {
    if (options()[run.control] === run.values[run.control]) complain(run.message, run.control);
  });
  recall();
}
