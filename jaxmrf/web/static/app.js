// The page: form, picture, gallery. Everything it shows comes from /api; it keeps no state
// of its own but the form and the run that is looked at, so a reload changes nothing.

const $ = (id) => document.getElementById(id);
const KINDS = ["content", "style"];
const KIND_NAMES = { content: "photograph", style: "painting" };
const TRY_AGAIN = 2000;
const PREPARE_AFTER = 300;
const POLL_EVERY = 2000;
const AGAIN_AFTER = 600;
const QUICK_SIZE = 256;

const runs = new Map();
const chosen = { content: null, style: null };
const uploads = { content: null, style: null };
let form = null;
let selected = null;
let stream = null;

class Refused extends Error {
  constructor(message, control) {
    super(message);
    this.control = control;
  }
}

async function ask(method, path, body) {
  let answer;
  try {
    const isJson = body !== undefined && !(body instanceof Blob);
    answer = await fetch(path, { method, body: isJson ? JSON.stringify(body) : body });
  } catch {
    throw new Refused("The server does not answer.");
  }
  if (answer.status === 401) throw new Refused("Open the address that jaxmrf serve printed.");
  const isJson = (answer.headers.get("content-type") || "").startsWith("application/json");
  const data = isJson ? await answer.json() : null;
  if (!answer.ok) throw new Refused(data?.message ?? `The server says ${answer.status}.`, data?.control);
  return data;
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

// Pictures

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

function choose(kind, picture) {
  uploads[kind] = null; // one that is under way is no longer what is wanted
  chosen[kind] = picture;
  const { box, image, note, examples } = well(kind);
  box.classList.remove("wrong", "busy");
  image.src = `/api/pictures/${picture.id}`;
  image.alt = picture.title;
  image.hidden = false;
  image.onerror = () => complain(`this ${KIND_NAMES[kind]} is no longer kept; choose it again`, kind);
  setText(note, picture.width ? `${picture.title}, ${picture.width}×${picture.height}` : picture.title);
  for (const button of examples.children) {
    button.setAttribute("aria-pressed", String(button.dataset.id === picture.id));
  }
  remember();
  prepareSoon();
}

// Uploads a file; the last one counts, however long an earlier one takes. Start waits for it.
function bring(kind, file) {
  const upload = send(kind, file, () => uploads[kind] === upload);
  uploads[kind] = upload;
  return upload;
}

async function send(kind, file, isLast) {
  await null; // so that the caller knows it as the last
  const { box } = well(kind);
  try {
    if (file.size > form.max_bytes) {
      throw new Refused(`this file is larger than ${form.max_bytes / 1e6} MB`);
    }
    box.classList.add("busy");
    const query = new URLSearchParams({ name: file.name || "pasted.png" });
    const picture = await ask("POST", `/api/pictures?${query}`, file);
    if (isLast()) choose(kind, picture);
    return true;
  } catch (error) {
    if (!isLast()) return true;
    uploads[kind] = null;
    box.classList.remove("busy");
    complain(error.message, kind);
    return false;
  }
}

// Takes what was dropped or pasted: one file for the well it is on, or two for both.
function bringAll(kind, files) {
  if (files.length > 1) KINDS.forEach((each, number) => bring(each, files[number]));
  else if (files.length) bring(kind, files[0]);
  else complain("this is no file; save the picture first, then drop or choose its file", kind);
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
  for (const example of form.examples.filter((one) => one.kind === kind)) {
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
  return inside?.dataset.kind ?? (chosen.content ? "style" : "content");
}

// Controls

function setUpControls() {
  for (const control of form.controls) {
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
      remember();
      prepareSoon();
    });
    input.addEventListener("change", () => {
      if (!input.value.trim()) input.value = usual(control.name);
      settle(control.name);
    });
    (control.main ? $("controls") : group(control.group)).append(box);
  }
  for (const control of form.controls) field(control.name).value = control.default;
}

// Returns where the controls under one heading are.
function group(heading) {
  const there = [...$("more-controls").children].find((one) => one.dataset.group === heading);
  if (there) return there.lastChild;
  const made = element("fieldset", {}, element("legend", { textContent: heading }), element("div", { className: "controls" }));
  made.dataset.group = heading;
  $("more-controls").append(made);
  return made.lastChild;
}

const field = (name) => $(`control-${name}`);
const isControl = (name) => form.controls.some((control) => control.name === name);

// What the chosen preset has for a control; what the command line has for all others.
function usual(name) {
  const preset = form.presets[field("preset").value] ?? {};
  return preset[name] ?? form.controls.find((control) => control.name === name).default;
}

// Fills what was not changed with the values of the preset that was just chosen.
function fillDefaults() {
  for (const { name } of form.controls) {
    if (name !== "preset" && !field(name).parentElement.classList.contains("changed")) {
      field(name).value = usual(name);
    }
    settle(name);
  }
}

// Takes back an error of a control and marks it if it is not at its usual value.
function settle(name) {
  const box = field(name).parentElement;
  const control = form.controls.find((one) => one.name === name);
  const usualValue = name === "preset" ? control.default : usual(name);
  box.classList.toggle("changed", field(name).value.trim() !== usualValue && field(name).value.trim() !== "");
  box.classList.remove("wrong");
  field(name).removeAttribute("aria-invalid");
  setText(box.querySelector(".help"), control.help);
}

function options() {
  const values = {};
  for (const { name } of form.controls) {
    if (field(name).parentElement.classList.contains("changed")) values[name] = field(name).value.trim();
  }
  return values;
}

function fill(values) {
  for (const { name } of form.controls) field(name).parentElement.classList.remove("changed");
  field("preset").value = values.preset ?? "default";
  for (const { name } of form.controls) {
    if (name !== "preset") field(name).value = values[name] ?? usual(name);
    settle(name);
  }
}

function complain(message, control) {
  setText($("problem"), "");
  if (KINDS.includes(control)) {
    const { box, note } = well(control);
    box.classList.add("wrong");
    setText(note, message);
  } else if (control && isControl(control)) {
    const box = field(control).parentElement;
    box.classList.add("wrong");
    field(control).setAttribute("aria-invalid", "true");
    setText(box.querySelector(".help"), message);
    if (box.closest("details")) $("more").open = true;
  } else {
    setText($("problem"), message);
  }
}

// What the page would forget on a reload

function remember() {
  sessionStorage.setItem("form", JSON.stringify({ chosen, values: options() }));
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

// Starting

function wanted(more = {}) {
  return { content: chosen.content?.id, style: chosen.style?.id, options: { ...options(), ...more } };
}

let preparing = 0;
function prepareSoon() {
  clearTimeout(preparing);
  const own = setTimeout(async () => {
    if (!chosen.content || !chosen.style) return;
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

// Waits for what is being uploaded; returns whether all of it arrived.
async function allUploads() {
  for (const kind of KINDS) {
    while (uploads[kind]) if (!(await uploads[kind])) return false;
  }
  return true;
}

async function startNow(more) {
  if (uploads.content || uploads.style) {
    setText($("problem"), "Starts when the picture is uploaded.");
    const arrived = await allUploads();
    setText($("problem"), "");
    if (!arrived) return;
  }
  const run = await ask("POST", "/api/runs", wanted(more));
  take(run);
  look(run.id);
  if (matchMedia("(max-width: 60rem)").matches) $("stage").scrollIntoView();
}

// The picture

const counted = (number, unit) => `${number} ${unit}${number === 1 ? "" : "s"}`;

// How long something took.
function duration(seconds) {
  if (seconds < 90) return counted(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return counted(Number((seconds / 3600).toFixed(1)), "hour");
}

// How long something will take: no more exact than it can be known.
function estimate(seconds) {
  if (seconds < 8) return "a few seconds";
  if (seconds < 45) return `about ${5 * Math.round(seconds / 5)} seconds`;
  if (seconds < 60) return "less than a minute";
  return `about ${seconds < 90 ? "a minute" : duration(seconds)}`;
}

const stem = (title) => title.replace(/\.[a-z]+$/i, "");

const EMPTY = [...$("empty").childNodes].map((node) => node.cloneNode(true));

// What a run is doing.
function position(run) {
  const level = run.levels ? `level ${run.level} of ${run.levels}` : "";
  if (run.compiling) return level ? `${level}, compiling` : "compiling";
  if (!level) return "starting";
  return `${level}, ${run.iteration ? `iteration ${run.iteration} of ${run.iterations}` : "matching and painting"}`;
}

function remaining(run) {
  if (run.compiling) return run.ready_in === null ? "" : `, ready in ${estimate(run.ready_in)}`;
  return run.left === null ? "" : `, ${estimate(run.left)} left`;
}

function stateText(run) {
  const place = { 1: "next", 2: "2nd", 3: "3rd" }[run.place] ?? `${run.place}th`;
  const starts = run.starts_in ? `, starts in ${estimate(run.starts_in)}` : "";
  return {
    waiting: `waiting, ${place} in line${starts}`,
    running: run.message === "stopping" ? "stopping…" : `${position(run)}${remaining(run)}`,
    paused: run.message === "stopping" ? "stopping after a quick look…" : `paused for a quick look at ${Math.round(100 * run.done)} %`,
    finished: `finished in ${duration(run.seconds)}`,
    stopped: `stopped at ${Math.round(100 * run.done)} %; the picture so far is kept`,
    canceled: "canceled before anything was painted",
    failed: "failed",
    interrupted: "interrupted",
  }[run.state];
}

function look(id) {
  selected = id;
  if (id) sessionStorage.setItem("selected", id);
  else sessionStorage.removeItem("selected");
  $("compare").value = 0;
  split();
  $("after").removeAttribute("src");
  $("after").dataset.wanted = "";
  show();
  for (const card of document.querySelectorAll(".card")) {
    card.setAttribute("aria-current", String(card.dataset.id === id));
  }
}

function split() {
  const share = Number($("compare").value);
  $("canvas").style.setProperty("--split", `${share}%`);
  $("canvas").classList.toggle("compared", share > 0);
  $("compare").setAttribute("aria-valuetext", `${Math.round(share)} % photograph, ${Math.round(100 - share)} % painting`);
}

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

function showInputs(run) {
  const shown = run ? run.id : "";
  if ($("inputs").dataset.run === shown) return;
  $("inputs").dataset.run = shown;
  const names = run ? [...new Set([run.content_title, run.style_title])] : [];
  const links = names.map((name, number) => element("a", { href: `/api/runs/${run.id}/${KINDS[number]}`, download: name, textContent: name }));
  $("inputs").replaceChildren(...(run ? ["The command needs ", ...links.flatMap((one, number) => (number ? [" and ", one] : [one]))] : ["\u00a0"]));
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
      if (after.dataset.wanted === url) after.src = url;
    },
    () => {},
  );
}

function show() {
  const run = runs.get(selected);
  const nothing = Boolean(run?.ended && !run.result);
  $("canvas").hidden = !run || nothing;
  $("empty").hidden = Boolean(run) && !nothing;
  if (nothing) $("empty").replaceChildren("Nothing was painted.");
  else if (!run) $("empty").replaceChildren(...EMPTY.map((node) => node.cloneNode(true)));
  for (const name of ["again", "copy"]) disable(name, !run);
  disable("cancel", !run || run.ended || run.message === "stopping");
  disable("delete", !run?.ended);
  link("download", run?.result && `/api/runs/${run.id}/result`);
  link("full", run?.result && `/api/runs/${run.id}/result?show=1`);
  document.title = run && !run.ended && run.levels ? `${Math.round(100 * run.done)} % · jaxmrf` : "jaxmrf";
  setText($("title"), run ? `${stem(run.content_title)} in the manner of ${stem(run.style_title)}` : "\u00a0");
  setText($("state"), run ? stateText(run) + (run.message && run.ended ? `: ${run.message}` : "") : "\u00a0");
  announce(run);
  setText($("advice"), run?.advice ? `Advice: ${run.advice}` : "");
  $("advice").hidden = !run?.advice;
  setText($("command"), run ? run.command : "");
  showInputs(run);
  $("state").className = run?.state ?? "";
  $("progress").value = run ? run.done : 0;
  drawCurve(run);
  if (!run || nothing) return;
  $("canvas").style.setProperty("--ratio", run.width / run.height);
  const photograph = `/api/pictures/${run.content}`;
  if ($("before").getAttribute("src") !== photograph) $("before").src = photograph;
  $("before").alt = `Before: ${run.content_title}`;
  $("after").alt = run.state === "finished" ? "The finished picture" : "The picture so far";
  if (run.result) showPicture(`/api/runs/${run.id}/result?show=1`);
  else if (run.picture) showPicture(`/api/runs/${run.id}/preview?n=${run.attempts}.${run.picture}`);
  else showPicture(photograph);
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

// The gallery

function take(run) {
  if (run.gone) {
    runs.delete(run.id);
    document.querySelector(`.card[data-id="${CSS.escape(run.id)}"]`)?.parentElement.remove();
    if (selected === run.id) look(newest()?.id ?? null);
  } else {
    const refused = run.control && run.ended && runs.get(run.id)?.ended === false;
    runs.set(run.id, run);
    drawCard(run);
    // It was found out while it started; told where it can be mended, if that is still as it was.
    if (refused && options()[run.control] === run.values[run.control]) complain(run.message, run.control);
    if (run.id === selected) show();
  }
  $("nothing").hidden = runs.size > 0;
  $("clear").hidden = !failed().length;
}

const failed = () => [...runs.values()].filter((run) => run.ended && !run.result);

function newest() {
  const all = [...runs.values()].sort((one, other) => other.created - one.created);
  return all.find((run) => ["running", "paused"].includes(run.state)) ?? all[0];
}

function makeCard(run) {
  const image = element("img", { alt: "" });
  const bar = element("span", { className: "bar" });
  const picture = element("div", { className: "picture" }, image, bar);
  const name = element("span", { className: "name" });
  const sub = element("span", { className: "sub" });
  const card = element("button", { type: "button", className: "card" }, picture, name, sub);
  card.dataset.id = run.id;
  card.dataset.created = run.created;
  card.setAttribute("aria-current", String(run.id === selected));
  card.addEventListener("click", () => {
    look(run.id);
    $("stage").scrollIntoView({ block: "nearest" });
  });
  const item = element("li", {}, card);
  const others = [...$("runs").children];
  const after = others.find((other) => Number(other.firstChild.dataset.created) < run.created);
  $("runs").insertBefore(item, after ?? null);
  return card;
}

function drawCard(run) {
  const card = document.querySelector(`.card[data-id="${CSS.escape(run.id)}"]`) ?? makeCard(run);
  const [image, bar] = card.querySelector(".picture").children;
  const url = run.thumbnail ? `/api/runs/${run.id}/thumbnail` : `/api/pictures/${run.content}`;
  if (image.getAttribute("src") !== url) image.src = url;
  card.classList.toggle("pending", !run.thumbnail);
  card.classList.toggle("nothing", run.ended && !run.result);
  bar.style.width = run.ended ? "0" : `${100 * run.done}%`;
  setText(card.querySelector(".name"), `${stem(run.content_title)} · ${stem(run.style_title)}`);
  const short = { running: `${Math.round(100 * run.done)} %`, waiting: `in line, ${run.place}` }[run.state] ?? run.state;
  setText(card.querySelector(".sub"), `${run.width}×${run.height}, ${short}`);
}

// Events

function connect() {
  stream?.close();
  stream = new EventSource("/api/events");
  stream.addEventListener("open", () => setText($("connection"), ""));
  stream.addEventListener("runs", (event) => {
    const all = JSON.parse(event.data);
    const there = new Set(all.map((run) => run.id));
    for (const id of runs.keys()) if (!there.has(id)) take({ id, gone: true });
    all.forEach(take);
    if (!runs.has(selected)) look(newest()?.id ?? null);
  });
  stream.addEventListener("run", (event) => {
    take(JSON.parse(event.data));
    if (!runs.has(selected) && runs.size) look(newest().id);
  });
  stream.addEventListener("error", () => {
    setText($("connection"), "Not connected, trying again…");
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(connect, TRY_AGAIN);
    ask("GET", "/api/form").catch((error) => setText($("connection"), error.message));
  });
}

// Browsers open few connections to one server: a page that nobody looks at gives its own back,
// and asks now and then, for its title.
let polling = 0;
document.addEventListener("visibilitychange", () => {
  clearInterval(polling);
  if (!document.hidden) {
    connect();
    return;
  }
  stream?.close();
  polling = setInterval(async () => {
    if (!selected || runs.get(selected)?.ended) return;
    try {
      take(await ask("GET", `/api/runs/${selected}`));
    } catch {
      // Once somebody looks, the stream tells of it.
    }
  }, POLL_EVERY);
});

// Buttons

async function attempt(action) {
  try {
    await action();
  } catch (error) {
    complain(error.message);
  }
}

function setUpButtons() {
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    start();
  });
  $("quick").addEventListener("click", () => {
    const size = Number(field("size").value);
    start({ size: String(size > 0 && size < QUICK_SIZE ? size : QUICK_SIZE) });
  });
  $("cancel").addEventListener("click", () => attempt(async () => take(await ask("POST", `/api/runs/${selected}/cancel`))));
  $("again").addEventListener("click", () => attempt(async () => {
    const run = runs.get(selected);
    for (const kind of KINDS) {
      choose(kind, { id: run[kind], title: run[`${kind}_title`] });
    }
    fill(run.values);
    remember();
    field("size").focus();
  }));
  $("copy").addEventListener("click", async () => {
    const { command } = runs.get(selected);
    try {
      await navigator.clipboard.writeText(command);
      flash($("copy"), "Copied");
    } catch {
      getSelection().selectAllChildren($("command"));
      flash($("copy"), "Press Ctrl+C");
    }
  });
  $("delete").addEventListener("click", () => {
    if ($("delete").dataset.sure !== selected) {
      $("delete").dataset.sure = selected;
      flash($("delete"), "Really?", () => delete $("delete").dataset.sure);
      return;
    }
    attempt(() => ask("DELETE", `/api/runs/${selected}`));
  });
  $("compare").addEventListener("input", split);
  $("clear").addEventListener("click", () => attempt(async () => {
    for (const run of failed()) await ask("DELETE", `/api/runs/${run.id}`);
    $("gallery").querySelector(".card")?.focus();
  }));
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

function flash(button, text, afterwards = () => {}) {
  const before = button.dataset.text ?? button.textContent;
  button.dataset.text = before;
  button.style.minWidth = `${button.offsetWidth}px`;
  button.textContent = text;
  setTimeout(() => {
    button.textContent = before;
    afterwards();
  }, 2500);
}

async function main() {
  try {
    form = await ask("GET", "/api/form");
  } catch (error) {
    setText($("connection"), error.message);
    setTimeout(main, TRY_AGAIN);
    return;
  }
  setUpControls();
  KINDS.forEach(setUpWell);
  setUpButtons();
  recall();
  $("main").hidden = false;
  selected = sessionStorage.getItem("selected");
  connect();
}

main();
