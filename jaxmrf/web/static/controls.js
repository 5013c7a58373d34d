// The controls of the form: one for each option of the command line.

import { $, element, setText } from "./dom.js";
import { state, tell } from "./state.js";

export function setUpControls() {
  for (const control of state.form.controls) {
    const id = `control-${control.name}`;
    let input;
    if (control.kind === "choice") {
      input = element("select", { id }, ...control.choices.map((one) => element("option", { value: one, textContent: one })));
    } else {
      const mode = { whole: "numeric", number: "decimal", text: "text" }[control.kind];
      input = element("input", { id, type: "text", inputMode: mode, autocomplete: "off", spellcheck: false });
      input.placeholder = control.default === "" ? "automatic" : "";
    }
    input.name = control.name;
    input.setAttribute("aria-describedby", `${id}-help`);
    const label = element("label", { htmlFor: id, textContent: control.label });
    const help = element("p", { className: "help", id: `${id}-help`, textContent: control.help });
    const box = element("div", { className: "control" }, label, input, help);
    box.dataset.name = control.name;
    input.addEventListener("input", () => {
      if (control.name === "preset") fillDefaults();
      settle(control.name);
      tell("form");
    });
    input.addEventListener("change", () => {
      if (!input.value.trim()) input.value = usual(control.name);
      settle(control.name);
    });
    (control.main ? $("controls") : group(control.group)).append(box);
  }
  for (const control of state.form.controls) field(control.name).value = control.default;
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

export const field = (name) => $(`control-${name}`);
export const isControl = (name) => state.form.controls.some((control) => control.name === name);

// What the chosen preset has for a control; what the command line has for all others.
function usual(name) {
  const preset = state.form.presets[field("preset").value] ?? {};
  return preset[name] ?? state.form.controls.find((control) => control.name === name).default;
}

// Fills what was not changed with the values of the preset that was just chosen.
function fillDefaults() {
  for (const { name } of state.form.controls) {
    if (name !== "preset" && !field(name).parentElement.classList.contains("changed")) {
      field(name).value = usual(name);
    }
    settle(name);
  }
}

// Takes back an error of a control and marks it if it is not at its usual value.
function settle(name) {
  const box = field(name).parentElement;
  const control = state.form.controls.find((one) => one.name === name);
  const usualValue = name === "preset" ? control.default : usual(name);
  box.classList.toggle("changed", field(name).value.trim() !== usualValue && field(name).value.trim() !== "");
  box.classList.remove("wrong");
  field(name).removeAttribute("aria-invalid");
  setText(box.querySelector(".help"), control.help);
}

export function options() {
  const values = {};
  for (const { name } of state.form.controls) {
    if (field(name).parentElement.classList.contains("changed")) values[name] = field(name).value.trim();
  }
  return values;
}

export function fill(values) {
  for (const { name } of state.form.controls) field(name).parentElement.classList.remove("changed");
  field("preset").value = values.preset ?? "default";
  for (const { name } of state.form.controls) {
    if (name !== "preset") field(name).value = values[name] ?? usual(name);
    settle(name);
  }
}

export function complainAtControl(message, name) {
  const box = field(name).parentElement;
  box.classList.add("wrong");
  field(name).setAttribute("aria-invalid", "true");
  setText(box.querySelector(".help"), message);
  if (box.closest("details")) $("more").open = true;
}
