// The controls of the form: one for each option of the command line.

import { $, element, setText } from "./dom.js";
import { on, state, tell } from "./state.js";

const SHAPE = "In pixels, such as 640x480.";
const fields = new Map();

export const field = (name) => fields.get(name);
export const isControl = (name) => fields.has(name);

const controlOf = (name) => state.form.controls.find((control) => control.name === name);

// Each kind of control has a node that takes the focus, and its value as the server takes it.
const KINDS = {
  text: textField,
  whole: textField,
  number: textField,
  choice(control, id) {
    const node = element("select", { id }, ...control.choices.map((one) => element("option", { value: one, textContent: one })));
    return { node, nodes: [node], ...valueOf(node) };
  },
  switch(control, id) {
    const node = element("input", { id, type: "checkbox" });
    return { node, nodes: [node], get: () => String(node.checked), set: (value) => (node.checked = value === "true") };
  },
  share(control, id) {
    const node = element("input", { id, type: "range", min: 0, max: 1, step: 0.05 });
    const ends = ["photograph", "painting"].map((name) => element("span", { textContent: name }));
    const set = (value) => {
      node.value = value;
      node.setAttribute("aria-valuetext", `${Math.round(100 * node.value)} % to the painting`);
    };
    node.addEventListener("input", () => set(node.value));
    return { node, nodes: [node, element("div", { className: "ends", ariaHidden: "true" }, ...ends)], get: () => node.value, set };
  },
  pictured(control, id) {
    const radios = control.choices.map((one) => element("input", { type: "radio", name: control.name, value: one }));
    const cards = radios.map((radio) =>
      element("label", { className: "choosing" }, radio, element("img", { src: `/${control.name}-${radio.value}.jpg`, alt: "" }), element("span", { textContent: radio.value })),
    );
    const group = element("div", { id, className: "picks", role: "radiogroup", ariaLabel: control.label }, ...cards);
    const chosen = () => radios.find((radio) => radio.checked);
    return {
      node: group,
      nodes: [group],
      get: () => chosen()?.value ?? "",
      set: (value) => radios.forEach((radio) => (radio.checked = radio.value === value)),
      focus: () => (chosen() ?? radios[0]).focus(),
    };
  },
};

const valueOf = (node) => ({ get: () => node.value.trim(), set: (value) => (node.value = value) });

function textField(control, id) {
  const mode = { whole: "numeric", number: "decimal", text: "text" }[control.kind];
  const node = element("input", { id, type: "text", inputMode: mode, autocomplete: "off", spellcheck: false });
  node.placeholder = control.default === "" ? "automatic" : "";
  return { node, nodes: [node], ...valueOf(node) };
}

function make(control) {
  const id = `control-${control.name}`;
  const made = KINDS[control.kind](control, id);
  const { node } = made;
  if (node.matches("input, select")) node.name = control.name;
  node.setAttribute("aria-describedby", `${id}-help`);
  const label = control.kind === "pictured" ? element("p", { className: "label", ariaHidden: "true" }) : element("label", { htmlFor: id });
  label.textContent = control.label;
  const help = element("p", { className: "help", id: `${id}-help`, textContent: control.help });
  const box = element("div", { className: `control ${control.kind}` }, label, ...made.nodes, help);
  box.dataset.name = control.name;
  box.addEventListener("input", () => {
    if (control.name === "preset") fillDefaults();
    settle(control.name);
    tell("form");
  });
  box.addEventListener("change", () => {
    if (!made.get()) made.set(usual(control.name));
    settle(control.name);
  });
  fields.set(control.name, { focus: () => node.focus(), ...made, box, label, help });
  (control.main ? $("controls") : group(control.group)).append(box);
}

export function setUpControls() {
  // A blend is beside its paintings.
  for (const control of state.form.controls) if (control.kind !== "blend") make(control);
  for (const [name, { set }] of fields) set(controlOf(name).default);
  on("synthesis", showFitting);
}

// Returns where the controls under one heading are.
function group(heading) {
  const present = [...$("more-controls").children].find((one) => one.dataset.group === heading);
  if (present) return present.lastChild;
  const made = element("fieldset", {}, element("legend", { textContent: heading }), element("div", { className: "controls" }));
  made.dataset.group = heading;
  $("more-controls").append(made);
  return made.lastChild;
}

// What the chosen preset has for a control; what the command line has for all others.
function usual(name) {
  if (state.synthesis && name === "size") return state.form.synthesis.size;
  const preset = state.form.presets[field("preset").get()] ?? {};
  return (name === "preset" ? undefined : preset[name]) ?? controlOf(name).default;
}

const isChanged = (name) => field(name).box.classList.contains("changed");
const isFitting = (name) => !state.synthesis || !state.form.synthesis.without.includes(name);

// Fills what was not changed with its usual value, after that has become another.
function fillDefaults() {
  for (const name of fields.keys()) {
    if (name !== "preset" && !isChanged(name)) field(name).set(usual(name));
    settle(name);
  }
}

// Hides what has no effect without a photograph; the size has two sides then.
function showFitting() {
  const { label, set, node } = field("size");
  const isShape = /[x×]/.test(field("size").get());
  if (isShape !== state.synthesis) set(usual("size"));
  setText(label, state.synthesis ? "Width × height" : controlOf("size").label);
  node.inputMode = state.synthesis ? "text" : "numeric";
  for (const [name, { box }] of fields) box.hidden = !isFitting(name);
  for (const heading of $("more-controls").children) {
    heading.hidden = [...heading.lastChild.children].every((box) => box.hidden);
  }
  fillDefaults();
}

// Takes back an error of a control and marks it if it is not at its usual value.
function settle(name) {
  const { box, node, help, get } = field(name);
  box.classList.toggle("changed", get() !== usual(name) && get() !== "");
  box.classList.remove("wrong");
  node.removeAttribute("aria-invalid");
  setText(help, state.synthesis && name === "size" ? SHAPE : controlOf(name).help);
}

// What was chosen and is not usual.
export function options() {
  const chosen = [...fields.keys()].filter((name) => isChanged(name) && isFitting(name));
  return Object.fromEntries(chosen.map((name) => [name, field(name).get()]));
}

export function fill(values) {
  for (const { box } of fields.values()) box.classList.remove("changed");
  field("preset").set(values.preset ?? "default");
  for (const name of fields.keys()) {
    if (name !== "preset") field(name).set(values[name] ?? usual(name));
    settle(name);
  }
}

export function complainAtControl(message, name) {
  const { box, node, help } = field(name);
  box.classList.add("wrong");
  node.setAttribute("aria-invalid", "true");
  setText(help, message);
  if (box.closest("details")) $("more").open = true;
}
