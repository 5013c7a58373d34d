// Guides and masks, painted with a brush on the pictures that they are for.

import { $, element, setText } from "./dom.js";
import { on, state, tell } from "./state.js";
import { upload } from "./pictures.js";
import { DIMMED, Layer, MASK, PALETTE, tinted } from "./labels.js";
import { stem } from "./words.js";

const WORDS = {
  guides: {
    title: "What goes where",
    help: "Paint like things in the same color: the sky blue in the photograph and in the painting, and skies are made of sky. What you leave goes with what you leave.",
  },
  mask: { title: "Where to paint", help: "Only what you uncover with the brush is painted; the rest stays the photograph." },
};

const layers = new Map(); // by what they are for and the picture: they are kept while the page is open
const palette = [...PALETTE];
let sheets = []; // what is painted in the dialog now
let sheet = null;
let tool = "brush";
let label = 1;
let at = { x: 0, y: 0 }; // of the keyboard

const radius = () => (Number($("brush-size").value) / 200) * Math.max(sheet.layer.width, sheet.layer.height) * 0.4;
const isMask = () => sheet.role === "mask";

// The colors of a label picture, and whether another one may bring more.
const colorsOf = (role) => (role === "mask" ? [MASK, false] : [palette, true]);

async function load(url) {
  const image = new Image();
  image.src = url;
  await image.decode();
  return image;
}

// Returns the layer of a picture, as it was left or as an uploaded label picture has it.
async function layerOf(role, picture, labels) {
  const key = `${role === "mask" ? role : "guide"} ${picture.id}`;
  const image = await load(`/api/pictures/${picture.id}`);
  if (!layers.has(key)) {
    const layer = new Layer(image.naturalWidth, image.naturalHeight);
    if (labels) layer.read(await load(`/api/pictures/${labels}/whole`), ...colorsOf(role));
    layers.set(key, layer);
  }
  return { role, picture, image, layer: layers.get(key) };
}

async function open(kind) {
  const { content, style } = state.chosen;
  const wanted =
    kind === "mask"
      ? [["mask", content[0], state.labels.mask?.[0]]]
      : [
          ["content_guide", content[0], state.labels.content_guide?.[0]],
          ...style.map((picture, place) => ["style_guide", picture, state.labels.style_guide?.[place]]),
        ];
  sheets = await Promise.all(wanted.map((one) => layerOf(...one)));
  setText($("brush-title"), WORDS[kind].title);
  setText($("brush-help"), WORDS[kind].help);
  setText($("brush-problem"), "");
  $("brush-sheets").replaceChildren(
    ...sheets.map((one, place) => {
      const name = one.role === "style_guide" ? stem(one.picture.title) : "photograph";
      const button = element("button", { type: "button", textContent: name });
      button.addEventListener("click", () => turnTo(place));
      return button;
    }),
  );
  $("brush-sheets").hidden = sheets.length < 2;
  label = 1;
  $("brush").showModal();
  turnTo(0);
  setTool("brush");
}

function turnTo(place) {
  sheet = sheets[place];
  [...$("brush-sheets").children].forEach((button, number) => button.setAttribute("aria-pressed", String(number === place)));
  $("brush-image").src = sheet.image.src;
  at = { x: sheet.layer.width / 2, y: sheet.layer.height / 2 };
  fitSheet();
  showColors();
  draw();
}

// Gives the picture all the room there is.
function fitSheet() {
  if (!sheet) return;
  const { clientWidth, clientHeight } = $("brush-mat");
  const scale = Math.min(clientWidth / sheet.layer.width, clientHeight / sheet.layer.height);
  $("brush-sheet").style.width = `${Math.floor(sheet.layer.width * scale)}px`;
  $("brush-sheet").style.height = `${Math.floor(sheet.layer.height * scale)}px`;
}

function showColors() {
  $("brush-colors").hidden = isMask();
  $("brush-colors").replaceChildren(
    ...palette.slice(1).map((color, place) => {
      const radio = element("input", { type: "radio", name: "brush-color", value: place + 1, checked: label === place + 1, ariaLabel: `Color ${place + 1}` });
      radio.addEventListener("change", () => {
        label = Number(radio.value);
        if (tool === "erase") setTool("brush");
      });
      const swatch = element("span", { className: "swatch" });
      swatch.style.background = color;
      return element("label", { title: `Color ${place + 1}` }, radio, swatch);
    }),
  );
}

function setTool(wanted) {
  tool = wanted;
  for (const name of ["brush", "fill", "erase"]) $(`tool-${name}`).setAttribute("aria-pressed", String(name === tool));
}

function draw() {
  sheet.layer.draw($("brush-canvas"), isMask() ? DIMMED : tinted(palette));
  $("brush-undo").disabled = !sheet.layer.done.length;
  $("brush-redo").disabled = !sheet.layer.undone.length;
}

const wantedLabel = () => (tool === "erase" ? 0 : isMask() ? 1 : label);

function followBrush() {
  const canvas = $("brush-canvas");
  let last = null;
  const placeOf = (event) => {
    const box = canvas.getBoundingClientRect();
    return {
      x: ((event.clientX - box.left) / box.width) * sheet.layer.width,
      y: ((event.clientY - box.top) / box.height) * sheet.layer.height,
    };
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button !== 0) return;
    event.preventDefault();
    canvas.focus();
    canvas.setPointerCapture(event.pointerId);
    last = at = placeOf(event);
    touch(last);
    if (tool === "fill") last = null;
  });
  canvas.addEventListener("pointermove", (event) => {
    showCursor(placeOf(event));
    if (!last) return;
    for (const between of event.getCoalescedEvents?.() ?? [event]) {
      const place = placeOf(between);
      sheet.layer.stroke(last, place, radius(), wantedLabel());
      last = place;
    }
    draw();
  });
  const release = () => (last = null);
  canvas.addEventListener("pointerup", release);
  canvas.addEventListener("pointercancel", release);
  canvas.addEventListener("pointerleave", () => ($("brush-cursor").hidden = true));
}

// Uses the tool at one place.
function touch(place) {
  sheet.layer.keep();
  if (tool === "fill") sheet.layer.fill(place.x, place.y, wantedLabel());
  else sheet.layer.stamp(place.x, place.y, radius(), wantedLabel());
  draw();
}

// The keyboard moves a brush of its own, and paints with the space bar.
function followKeys(event) {
  if (event.ctrlKey || event.metaKey) {
    const does = { z: event.shiftKey ? "redo" : "undo", Z: "redo", y: "redo" }[event.key];
    if (does) event.preventDefault();
    if (does) takeBack(does);
    return;
  }
  const moves = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const move = moves[event.key];
  if (event.target !== $("brush-canvas")) return;
  if (move) {
    const step = Math.max(1, radius());
    at = {
      x: Math.min(Math.max(at.x + move[0] * step, 0), sheet.layer.width - 1),
      y: Math.min(Math.max(at.y + move[1] * step, 0), sheet.layer.height - 1),
    };
    showCursor(at);
  } else if (event.key === " ") touch(at);
  else return;
  event.preventDefault();
}

function showCursor(place) {
  const cursor = $("brush-cursor");
  const scale = $("brush-canvas").clientWidth / sheet.layer.width;
  const size = tool === "fill" ? 10 : 2 * radius() * scale;
  cursor.hidden = false;
  Object.assign(cursor.style, { width: `${size}px`, height: `${size}px`, left: `${place.x * scale}px`, top: `${place.y * scale}px` });
}

function takeBack(name) {
  sheet.layer[name]();
  draw();
}

// Takes a label picture from a file; it goes the way of all uploads.
async function take(file) {
  try {
    const picture = await upload(file);
    const image = await load(`/api/pictures/${picture.id}/whole`);
    const ratio = picture.width / picture.height / (sheet.layer.width / sheet.layer.height);
    if (Math.abs(ratio - 1) > 0.02) throw new Error("this picture has other proportions than the one that it is for");
    sheet.layer.read(image, ...colorsOf(sheet.role));
    setText($("brush-problem"), "");
    showColors();
    draw();
  } catch (error) {
    setText($("brush-problem"), error.message);
  }
}

// Uploads what is painted and uses it from now on; nothing where all is left empty.
async function finish() {
  $("brush-done").disabled = true;
  try {
    const roles = isMask() ? ["mask"] : ["content_guide", "style_guide"];
    const painted = sheets.some((one) => !one.layer.isEmpty);
    const used = {};
    for (const one of painted ? sheets : []) {
      const name = `${one.picture.title.replace(/\.[^.]*$/, "")}_${isMask() ? "mask" : "sem"}.png`;
      const picture = await upload(await one.layer.file(colorsOf(one.role)[0], name));
      used[one.role] = [...(used[one.role] ?? []), picture.id];
    }
    for (const role of roles) delete state.labels[role];
    Object.assign(state.labels, used);
    $("brush").close();
    showLabels();
    tell("form");
  } catch (error) {
    setText($("brush-problem"), error.message);
  }
  $("brush-done").disabled = false;
}

// Says beside the pictures which guides and mask there are.
export function showLabels(problem = "") {
  const has = { guides: state.labels.content_guide, mask: state.labels.mask };
  for (const [name, ids] of Object.entries(has)) {
    $(`paint-${name}`).disabled = state.synthesis || !state.chosen.content.length || !state.chosen.style.length;
    $(`paint-${name}`).setAttribute("aria-pressed", String(Boolean(ids)));
    $(`remove-${name}`).hidden = !ids;
  }
  $("labels").classList.toggle("wrong", Boolean(problem));
  setText($("labels-note"), problem);
}

export function setUpBrush() {
  for (const kind of ["guides", "mask"]) {
    $(`paint-${kind}`).addEventListener("click", () => open(kind).catch(() => showLabels("a picture is no longer kept; choose it again")));
    $(`remove-${kind}`).addEventListener("click", () => {
      for (const role of kind === "mask" ? ["mask"] : ["content_guide", "style_guide"]) delete state.labels[role];
      showLabels();
      $(`paint-${kind}`).focus();
      tell("form");
    });
  }
  for (const name of ["brush", "fill", "erase"]) $(`tool-${name}`).addEventListener("click", () => setTool(name));
  for (const name of ["undo", "redo", "clear"]) $(`brush-${name}`).addEventListener("click", () => takeBack(name));
  $("brush-file").addEventListener("change", () => {
    if ($("brush-file").files.length) take($("brush-file").files[0]);
    $("brush-file").value = "";
  });
  $("brush-cancel").addEventListener("click", () => $("brush").close());
  $("brush-done").addEventListener("click", finish);
  $("brush").addEventListener("keydown", followKeys);
  new ResizeObserver(fitSheet).observe($("brush-mat"));
  followBrush();
  // Guides and masks are for the pictures that they were painted on.
  on("pictures", () => {
    state.labels = {};
    showLabels();
  });
  showLabels();
}
