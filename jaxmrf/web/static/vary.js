// Variations: a small grid of pictures of the same kind, to choose from.

import { $, element, setText } from "./dom.js";
import { ask } from "./api.js";
import { bind } from "./keys.js";
import { current, look, state, tell } from "./state.js";
import { bodyOfForm, bodyOfRun, checkForm } from "./form.js";
import { longestOf, sizeOf } from "./sizes.js";
import { counted, stem } from "./words.js";

const AXES = [
  ["alpha", "0.2, 0.35, 0.5, 0.65, 0.8"],
  ["color", "match, keep"],
  ["style_scale", "0.7, 1, 1.4"],
  ["preset", "quick, default, fine"],
  ["content_weight", "0.1, 0.25, 0.6, 1.5"],
  ["anchor", "0.6, 0.75, 0.85, 0.95"],
  ["variety", "0, 0.5, 1"],
  ["seed", "0, 1, 2, 3"],
];
const CHOSEN_FIRST = ["alpha", "color"]; // these share their programs
const PREPARE_AFTER = 300;
const SMALL = 256;
const LARGE = 512;

let base = null; // what is varied: the body of a request

const boxOf = (name) => $(`vary-${name}`);
const valuesOf = (name) => boxOf(`${name}-values`);

// The values between commas, or between semicolons where values have commas.
const split = (text) => text.split(text.includes(";") ? ";" : ",").map((value) => value.trim()).filter(Boolean);

function makeAxis([name, values]) {
  const { label } = state.form.controls.find((control) => control.name === name);
  const box = element("input", { type: "checkbox", id: `vary-${name}`, checked: CHOSEN_FIRST.includes(name) });
  const text = element("input", { type: "text", id: `vary-${name}-values`, value: values, autocomplete: "off", spellcheck: false, ariaLabel: `${label}: values between commas` });
  text.addEventListener("input", () => (box.checked = Boolean(text.value.trim())));
  return element("div", { className: "axis" }, element("label", { className: "switch" }, box, label), text);
}

// The paintings that can be varied: those of the form or run, and the examples.
function offerPaintings() {
  const examples = state.form.examples.filter((one) => one.kind === "style").map((one) => one.id);
  const ids = [...new Set([...base.body.style, ...state.chosen.style.map((one) => one.id), ...examples])];
  const names = new Map([...state.form.examples, ...state.chosen.style].map((one) => [one.id, stem(one.title)]));
  $("vary-paintings").replaceChildren(
    ...ids.map((id) => {
      const name = names.get(id) ?? "the painting of this picture";
      const box = element("input", { type: "checkbox", value: id, ariaLabel: name });
      return element("label", { className: "choosing", title: name }, box, element("img", { src: `/api/pictures/${id}`, alt: "" }));
    }),
  );
}

const paintings = () => [...$("vary-paintings").querySelectorAll(":checked")].map((box) => box.value);

// The requests of all cells, the last axis changing fastest.
function cells() {
  const axes = AXES.map(([name]) => name).filter((name) => boxOf(name).checked && !boxOf(name).closest(".axis").hidden);
  const kept = { ...base.body.options, size: sizeOf(base.body.options, Number($("vary-size").value) || SMALL) };
  const setByAlpha = state.form.set_by_alpha;
  if (axes.includes("alpha")) for (const name of setByAlpha) delete kept[name];
  else if (axes.some((name) => setByAlpha.includes(name))) delete kept.alpha;
  let all = [{ ...base.body, options: kept }];
  if (paintings().length) {
    const { style_blend, guide_weight, ...alone } = kept;
    const { content_guide, style_guide, ...body } = base.body;
    all = paintings().map((id) => ({ ...body, style: [id], options: alone }));
  }
  for (const name of axes) {
    all = all.flatMap((cell) => split(valuesOf(name).value).map((value) => ({ ...cell, options: { ...cell.options, [name]: value } })));
  }
  return all;
}

// Lets the server compile meanwhile what the first cell needs.
let preparing = 0;
function prepareSoon() {
  clearTimeout(preparing);
  preparing = setTimeout(() => {
    if ($("vary").open && cells().length) ask("POST", "/api/prepare", cells()[0]).catch(() => {});
  }, PREPARE_AFTER);
}

function count() {
  if (!base) return;
  prepareSoon();
  const number = cells().length;
  setText($("vary-count"), `${counted(number, "picture")}${number > state.form.max_group ? `; at most ${state.form.max_group} at once` : ""}`);
  setText($("vary-start"), `Paint ${number}`);
  $("vary-start").disabled = number < 1 || number > state.form.max_group;
}

function open(wanted) {
  base = wanted;
  setText($("vary-title"), `Variations of ${base.name}`);
  setText($("vary-problem"), "");
  for (const [name] of AXES) {
    boxOf(name).closest(".axis").hidden = base.body.command === "synthesize" && state.form.synthesis.without.includes(name);
  }
  offerPaintings();
  $("vary").showModal();
  count();
}

async function start() {
  $("vary-start").disabled = true;
  try {
    const runs = await ask("POST", "/api/groups", { runs: cells() });
    for (const run of runs) tell("run", run);
    tell("started");
    look(runs[0].id);
    $("vary").close();
    $("stage").scrollIntoView();
  } catch (error) {
    setText($("vary-problem"), error.message);
  }
  count();
}

const ofRun = (run) => ({ body: bodyOfRun(run), name: run.titles.content ? stem(run.titles.content[0]) : stem(run.titles.style[0]) });

async function openForForm() {
  if (await checkForm()) open({ body: bodyOfForm(), name: stem((state.chosen.content[0] ?? state.chosen.style[0]).title) });
}

// How large a run can be painted with one click: as the form says, where that is more.
export function largeSize(run) {
  const longest = Math.max(run.width, run.height);
  const wanted = longestOf($("control-size").value) || LARGE;
  return wanted > longest ? wanted : LARGE;
}

async function paintLarge() {
  const run = current();
  if (!run || $("large").disabled) return;
  const body = bodyOfRun(run);
  try {
    const made = await ask("POST", "/api/runs", { ...body, options: { ...body.options, size: sizeOf(body.options, largeSize(run)) } });
    tell("run", made);
    tell("started");
    look(made.id);
  } catch (error) {
    tell("problem", { message: error.message, control: error.control });
  }
}

export function setUpVary() {
  $("vary-axes").append(...AXES.map(makeAxis));
  $("vary").addEventListener("input", count);
  $("vary-form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("hide-vary").addEventListener("click", () => $("vary").close());
  $("vary-run").addEventListener("click", () => open(ofRun(current())));
  $("vary-these").addEventListener("click", openForForm);
  $("large").addEventListener("click", paintLarge);
  bind(["v"], "Vary this picture, or the form", () => (current() ? open(ofRun(current())) : openForForm()));
  bind(["l"], "Paint large", paintLarge);
}
