// Looking closely: a picture beside another one, under one slider or side by side, at any size.

import { $, element, setText } from "./dom.js";
import { bind } from "./keys.js";
import { current, groupOf, on, state } from "./state.js";
import { differences, paintingOf, stem } from "./words.js";

const LARGEST = 32; // times the size at which the whole picture is seen
const STEP = 1.4; // of a key or a button
const PIXELS_FROM = 4; // of the screen for one of the picture; from here on they are squares
const GRIP = 28; // pixels beside the divider that move it, where the picture can be moved too
const MARGIN = 8;
const OTHERS = 12;
const PICTURES = { content: "photograph", style: "painting" };

// Where the view is: `zoom` 1 shows the whole picture, `x` and `y` are its middle, 0 to 1.
const view = { zoom: 1, x: 0.5, y: 0.5, beside: false, against: "" };
let picture = { width: 1, height: 1 };
let fitting = 1; // pixels of the page for one of the picture, where the whole is seen

const actual = () => 1 / devicePixelRatio / fitting;
const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

// Gives the panes their sizes; all of them show the same place.
function arrange() {
  const { clientWidth, clientHeight } = $("mat");
  const room = (across, down) => [(clientWidth - MARGIN * (across + 1)) / across, (clientHeight - MARGIN * (down + 1)) / down];
  const fit = ([width, height]) => Math.max(0.01, Math.min(width / picture.width, height / picture.height));
  const [row, column] = [room(2, 1), room(1, 2)];
  const stacked = view.beside && fit(column) > fit(row);
  const space = view.beside ? (stacked ? column : row) : room(1, 1);
  fitting = fit(space);
  view.zoom = clamp(view.zoom, Math.min(1, actual()), LARGEST);
  const scale = fitting * view.zoom;
  const sheet = [picture.width * scale, picture.height * scale];
  const pane = sheet.map((length, axis) => Math.min(length, space[axis]));
  const centers = ["x", "y"].map((axis, number) => {
    const half = pane[number] / sheet[number] / 2;
    view[axis] = clamp(view[axis], half, 1 - half);
    return pane[number] / 2 - view[axis] * sheet[number];
  });
  const lengths = { width: pane[0], height: pane[1], "sheet-width": sheet[0], "sheet-height": sheet[1], left: centers[0], top: centers[1] };
  const panes = $("panes");
  for (const [name, length] of Object.entries(lengths)) panes.style.setProperty(`--${name}`, `${length}px`);
  panes.classList.toggle("stacked", stacked);
  panes.classList.toggle("besides", view.beside);
  panes.classList.toggle("movable", isMovable());
  panes.classList.toggle("large", scale * devicePixelRatio >= PIXELS_FROM);
  $("pane-beside").hidden = !view.beside;
  $("slide").setAttribute("aria-pressed", String(!view.beside));
  $("beside").setAttribute("aria-pressed", String(view.beside));
  $("fit").setAttribute("aria-pressed", String(view.zoom === 1));
  $("actual").setAttribute("aria-pressed", String(Math.abs(view.zoom / actual() - 1) < 1e-6));
}

const isMovable = () => view.zoom > 1;

// Enlarges by a factor; the place of the picture at (x, y) of the page stays where it is.
function zoomTo(zoom, x, y) {
  const place = x === undefined ? null : placeAt(x, y);
  view.zoom = zoom;
  if (place) {
    arrange();
    const moved = placeAt(x, y);
    view.x += place.x - moved.x;
    view.y += place.y - moved.y;
  }
  arrange();
}

// Returns which place of the picture is at a place of the page, 0 to 1 both ways.
function placeAt(x, y) {
  const pane = paneAt(x, y).getBoundingClientRect();
  const sheet = fitting * view.zoom;
  return {
    x: view.x + (x - pane.left - pane.width / 2) / (picture.width * sheet),
    y: view.y + (y - pane.top - pane.height / 2) / (picture.height * sheet),
  };
}

function paneAt(x, y) {
  const { left, right, top, bottom } = $("pane-beside").getBoundingClientRect();
  return view.beside && x >= left && x <= right && y >= top && y <= bottom ? $("pane-beside") : $("canvas");
}

function move(x, y) {
  const scale = fitting * view.zoom;
  view.x -= x / (picture.width * scale);
  view.y -= y / (picture.height * scale);
  arrange();
}

export function split(share = Number($("compare").value)) {
  $("compare").value = share;
  $("panes").style.setProperty("--split", `${$("compare").value}%`);
  $("panes").classList.toggle("compared", share > 0);
  const other = $("against").selectedOptions[0]?.textContent ?? "the other picture";
  $("compare").setAttribute("aria-valuetext", `${Math.round(share)} % ${other}, ${Math.round(100 - share)} % this picture`);
}

function splitAt(x) {
  const { left, width } = $("canvas").getBoundingClientRect();
  split(clamp((100 * (x - left)) / width, 0, 100));
}

// Fingers and mouse: one moves the divider or the picture, two enlarge.
function followPointers() {
  const panes = $("panes");
  const pointers = new Map();
  let moves = false;
  const middle = () => {
    const all = [...pointers.values()];
    const x = all.reduce((sum, one) => sum + one.x, 0) / all.length;
    const y = all.reduce((sum, one) => sum + one.y, 0) / all.length;
    const spread = all.length < 2 ? 0 : Math.hypot(all[0].x - all[1].x, all[0].y - all[1].y);
    return { x, y, spread };
  };
  panes.addEventListener("pointerdown", (event) => {
    if (event.button !== 0 || !event.target.closest(".pane")) return;
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    panes.setPointerCapture(event.pointerId);
    const { left, right } = $("handle").getBoundingClientRect();
    const beside = Math.abs(event.clientX - (left + right) / 2) > GRIP;
    moves = view.beside || pointers.size > 1 || (isMovable() && beside);
    panes.classList.toggle("moving", moves && isMovable());
    if (!moves) splitAt(event.clientX);
  });
  panes.addEventListener("pointermove", (event) => {
    if (!pointers.has(event.pointerId)) return;
    const before = middle();
    pointers.set(event.pointerId, { x: event.clientX, y: event.clientY });
    const after = middle();
    if (!moves) {
      splitAt(event.clientX);
      return;
    }
    move(after.x - before.x, after.y - before.y);
    if (before.spread) zoomTo((view.zoom * after.spread) / before.spread, after.x, after.y);
  });
  const release = (event) => {
    pointers.delete(event.pointerId);
    if (!pointers.size) panes.classList.remove("moving");
  };
  panes.addEventListener("pointerup", release);
  panes.addEventListener("pointercancel", release);
  panes.addEventListener("dblclick", (event) => zoomTo(view.zoom === 1 ? actual() : 1, event.clientX, event.clientY));
  panes.addEventListener(
    "wheel",
    (event) => {
      // Where the page itself scrolls, the wheel is for that; a pinch on a touchpad comes with ctrl.
      if (!event.ctrlKey && document.documentElement.scrollHeight > innerHeight) return;
      event.preventDefault();
      zoomTo(view.zoom * Math.exp(-event.deltaY / (event.ctrlKey ? 100 : 400)), event.clientX, event.clientY);
    },
    { passive: false },
  );
}

// Shows a picture once it is decoded, so that nothing flickers; only the latest counts.
function showPicture(url) {
  const after = $("after");
  if (after.dataset.wanted === url) return;
  after.dataset.wanted = url;
  const next = new Image();
  next.src = url;
  next.decode().then(
    () => {
      if (after.dataset.wanted !== url) return;
      after.src = url;
      after.parentElement.style.setProperty("--tile", `url("${url}")`);
    },
    () => {},
  );
}

// What a run can be compared with: its own pictures, and others that were made of them.
function candidates(run) {
  const own = ["content", "style"].flatMap((role) =>
    (run.inputs[role] ?? []).map((id, number) => {
      const name = stem(run.titles[role][number]);
      return { id: `${role} ${number}`, name: `${PICTURES[role]} ${name}`, side: name, url: `/api/pictures/${id}` };
    }),
  );
  const alike = (other) => other.inputs.content?.[0] === run.inputs.content?.[0] || other.id === view.against;
  const others = [...state.runs.values()]
    .filter((other) => other.result && other.id !== run.id && alike(other))
    .sort((one, other) => (other.id === view.against) - (one.id === view.against) || other.created - one.created)
    .slice(0, OTHERS)
    .map((other) => ({ id: other.id, name: `${paintingOf(other)}, ${differences(other)}`, side: differences(other, groupOf(other)) || paintingOf(other), url: `/api/runs/${other.id}/result?show=1` }));
  return [...own, ...others];
}

function offer(choices) {
  const key = choices.map((one) => one.id).join();
  if ($("against").dataset.key === key) return;
  $("against").dataset.key = key;
  $("against").replaceChildren(...choices.map((one) => element("option", { value: one.id, textContent: one.name })));
}

function showOther(run) {
  const choices = candidates(run);
  offer(choices);
  const chosen = choices.find((one) => one.id === view.against) ?? choices[0];
  $("against").value = chosen.id;
  for (const name of ["before", "before-beside"]) {
    if ($(name).getAttribute("src") !== chosen.url) $(name).src = chosen.url;
    $(name).alt = `To compare: ${chosen.name}`;
  }
  for (const side of document.querySelectorAll(".side.left")) setText(side, chosen.side);
  setText($("side-after"), differences(run, groupOf(run)) || paintingOf(run));
  split();
}

// Shows a run, or nothing.
export function showRun(run) {
  for (const control of document.querySelectorAll(".tools button, .tools select")) control.disabled = !run;
  $("panes").hidden = !run;
  if (!run) return;
  picture = { width: run.width, height: run.height };
  const tiles = run.values.tileable === "true";
  $("tiles").hidden = !tiles;
  $("panes").classList.toggle("tiled", tiles && $("tiles").getAttribute("aria-pressed") === "true");
  $("after").alt = run.state === "finished" ? "The finished picture" : "The picture so far";
  if (run.result) showPicture(`/api/runs/${run.id}/result?show=1`);
  else if (run.picture) showPicture(`/api/runs/${run.id}/preview?n=${run.attempts}.${run.picture}`);
  else showPicture(`/api/pictures/${(run.inputs.content ?? run.inputs.style)[0]}`);
  showOther(run);
  arrange();
}

// Shows another picture in the place of the one that was looked at.
function begin() {
  $("after").removeAttribute("src");
  $("after").dataset.wanted = "";
}

function setBeside(beside) {
  view.beside = beside;
  arrange();
}

function compareWith(id) {
  view.against = id;
  if (!current()) return;
  showOther(current());
  if (!view.beside && !Number($("compare").value)) split(50);
}

export function setUpCompare() {
  const buttons = {
    slide: () => setBeside(false),
    beside: () => setBeside(true),
    smaller: () => zoomTo(view.zoom / STEP),
    larger: () => zoomTo(view.zoom * STEP),
    fit: () => zoomTo(1),
    actual: () => zoomTo(actual()),
  };
  $("tiles").addEventListener("click", () => {
    $("tiles").setAttribute("aria-pressed", String($("tiles").getAttribute("aria-pressed") !== "true"));
    showRun(current());
  });
  for (const [name, does] of Object.entries(buttons)) $(name).addEventListener("click", does);
  $("against").addEventListener("change", () => compareWith($("against").value));
  $("compare").addEventListener("input", () => split());
  for (const name of ["before", "before-beside"]) {
    $(name).addEventListener("load", () => {
      const ratio = $(name).naturalWidth / $(name).naturalHeight;
      $(name).classList.toggle("apart", Math.abs(ratio * (picture.height / picture.width) - 1) > 0.02);
    });
  }
  new ResizeObserver(arrange).observe($("mat"));
  followPointers();
  on("begin", begin);
  on("compare", compareWith);
  on("started", () => split(0));
  const withRun = (does) => () => current() && does();
  bind(["c"], "Compare: half of each, or this picture alone", withRun(() => split(Number($("compare").value) ? 0 : 50)));
  bind(["b"], "Side by side, or under one slider", withRun(() => setBeside(!view.beside)));
  bind(["+"], "Larger", withRun(buttons.larger));
  bind(["-"], "Smaller", withRun(buttons.smaller));
  bind(["0"], "The whole picture", withRun(buttons.fit));
  bind(["1"], "One to one: each pixel is one of the screen", withRun(buttons.actual));
  const far = 60;
  const moves = { ArrowLeft: [far, 0], ArrowRight: [-far, 0], ArrowUp: [0, far], ArrowDown: [0, -far] };
  const keys = Object.keys(moves).map((key) => `Shift+${key}`);
  bind(keys, "Move a picture that is larger than its frame", (key) => move(...moves[key.slice("Shift+".length)]));
}
