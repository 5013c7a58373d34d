// The run that is looked at: its picture, how far it is, and what can be done with it.

import { $, element, flash, setText } from "./dom.js";
import { ask } from "./api.js";
import { current, on, state, tell } from "./state.js";
import { bind } from "./keys.js";
import { setUpCompare, showRun } from "./compare.js";
import { largeSize } from "./vary.js";
import { stateText, titleOf } from "./words.js";

const EMPTY = [...$("empty").childNodes].map((node) => node.cloneNode(true));

// What a screen reader is told: where a run is, not each of its iterations.
let announced = "";
function announce(run) {
  const running = run?.state === "running" && run.levels;
  const level = running ? `level ${run.level} of ${run.levels}${run.compiling ? ", compiling" : ""}` : "";
  const milestone = run ? `${run.id} ${run.state} ${level}` : "";
  if (milestone === announced) return;
  announced = milestone;
  setText($("announcer"), run ? level || $("state").textContent : "");
}

// Keeps the keyboard where it can go on when a button that has it can no longer be used.
function disable(name, disabled) {
  const had = disabled && document.activeElement === $(name);
  $(name).disabled = disabled;
  if (had) ($("again").disabled ? $("start") : $("again")).focus();
}

function link(name, url) {
  $(name).setAttribute("aria-disabled", String(!url));
  if (url) $(name).href = url;
  else $(name).removeAttribute("href");
}

// The pictures that a command line needs, under the names that it has for them.
function showInputs(run) {
  const shown = run ? run.id : "";
  if ($("inputs").dataset.run === shown) return;
  $("inputs").dataset.run = shown;
  const links = new Map();
  for (const [role, names] of Object.entries(run?.titles ?? {})) {
    names.forEach((name, number) => {
      const href = `/api/runs/${run.id}/inputs/${role}/${number}`;
      if (!links.has(name)) links.set(name, element("a", { href, download: name, textContent: name }));
    });
  }
  const parts = [...links.values()].flatMap((link, number) => [number ? (number === links.size - 1 ? " and " : ", ") : "", link]);
  $("inputs").replaceChildren(...(run ? ["The command needs ", ...parts] : ["\u00a0"]));
}

function show() {
  const run = current();
  const nothing = Boolean(run?.ended && !run.result);
  $("empty").hidden = Boolean(run) && !nothing;
  if (nothing) $("empty").replaceChildren("Nothing was painted.");
  else if (!run) $("empty").replaceChildren(...EMPTY.map((node) => node.cloneNode(true)));
  for (const name of ["again", "copy", "vary-run"]) disable(name, !run);
  disable("large", !run || Math.max(run.width, run.height) >= largeSize(run));
  $("large").title = run ? `The same settings at ${largeSize(run)} pixels (l)` : "";
  disable("cancel", !run || run.ended || run.message === "stopping");
  disable("delete", !run?.ended);
  link("download", run?.result && `/api/runs/${run.id}/result`);
  link("full", run?.result && `/api/runs/${run.id}/result?show=1`);
  document.title = run && !run.ended && run.levels ? `${Math.round(100 * run.done)} % · jaxmrf` : "jaxmrf";
  setText($("title"), run ? titleOf(run) : "\u00a0");
  setText($("state"), run ? stateText(run) + (run.message && run.ended ? `: ${run.message}` : "") : "\u00a0");
  announce(run);
  setText($("advice"), run?.advice ? `Advice: ${run.advice}` : "");
  $("advice").hidden = !run?.advice;
  setText($("command"), run ? run.command : "");
  setText($("rounding"), run?.lanes > 1 ? "It was painted beside others: the command gives the same picture up to rounding." : "");
  showInputs(run);
  $("state").className = run?.state ?? "";
  $("progress").value = run ? run.done : 0;
  drawCurve(run);
  showRun(nothing ? undefined : run);
}

function drawCurve(run) {
  const svg = $("curve");
  svg.replaceChildren();
  const points = run?.curve ?? [];
  const last = points.at(-1);
  setText($("energy-value"), last ? last[1].toPrecision(4) : "\u00a0");
  svg.setAttribute("aria-label", last ? `Energy, from ${points[0][1]} to ${last[1]}` : "Energy");
  if (!last) return;
  const values = points.map((point) => point[1]);
  const low = Math.min(...values);
  const high = Math.max(...values);
  const x = (iteration) => (600 * (iteration - 1)) / (Math.max(last[0], 2) - 1);
  const y = (value) => 75 - (70 * (value - low)) / Math.max(high - low, 1e-12);
  const make = (tag, attributes) => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    svg.append(made);
  };
  for (const begin of run.level_starts.slice(1)) {
    make("line", { x1: x(begin + 0.5), x2: x(begin + 0.5), y1: 0, y2: 80 });
  }
  make("polyline", { points: points.map(([i, value]) => `${x(i)},${y(value)}`).join(" ") });
}

export async function attempt(action) {
  try {
    await action();
  } catch (error) {
    tell("problem", { message: error.message });
  }
}

function cancel() {
  if ($("cancel").disabled) return;
  attempt(async () => tell("run", await ask("POST", `/api/runs/${state.selected}/cancel`)));
}

function setUpButtons() {
  $("cancel").addEventListener("click", cancel);
  bind(["x"], "Cancel", cancel);
  $("again").addEventListener("click", () => tell("again", current()));
  $("copy").addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(current().command);
      flash($("copy"), "Copied");
    } catch {
      getSelection().selectAllChildren($("command"));
      flash($("copy"), "Press Ctrl+C");
    }
  });
  $("delete").addEventListener("click", () => {
    if ($("delete").dataset.sure !== state.selected) {
      $("delete").dataset.sure = state.selected;
      flash($("delete"), "Really?", () => delete $("delete").dataset.sure);
      return;
    }
    attempt(() => ask("DELETE", `/api/runs/${state.selected}`));
  });
}

export function setUpStage() {
  setUpButtons();
  setUpCompare();
  on("look", () => {
    tell("begin");
    show();
  });
  on("shown", show);
}
