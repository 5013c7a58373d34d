// The gallery: all runs, those that wait too.

import { $, element, flash, setText } from "./dom.js";
import { ask, hush, listen } from "./api.js";
import { current, failed, groupOf, look, newest, on, state, tell } from "./state.js";
import { attempt } from "./stage.js";
import { bind } from "./keys.js";
import { cardState, counted, differences, paintingOf, stem, timeOf, titleOf } from "./words.js";

const POLL_EVERY = 2000;

const cardOf = (id) => document.querySelector(`.card[data-id="${CSS.escape(id)}"]`);
const groupBox = (name) => document.querySelector(`.group[data-group="${CSS.escape(name)}"]`);

// Takes in what the server tells of a run.
function take(run) {
  if (run.gone) {
    const item = cardOf(run.id)?.parentElement;
    const box = item?.closest(".group");
    state.runs.delete(run.id);
    item?.remove();
    if (box && !box.querySelector(".card")) box.remove();
    if (state.selected === run.id) look(newest()?.id ?? null);
  } else {
    const isNew = !state.runs.has(run.id);
    const refused = run.control && run.ended && state.runs.get(run.id)?.ended === false;
    state.runs.set(run.id, run);
    for (const other of isNew && run.group ? groupOf(run) : [run]) drawCard(other);
    if (refused) tell("refused", run);
    if (run.id === state.selected) tell("shown");
  }
  $("nothing").hidden = state.runs.size > 0;
  $("zip").hidden = ![...state.runs.values()].some((one) => one.result);
  setText($("count"), state.runs.size || "");
  $("clear").hidden = !failed().length;
}

function makeCard(run) {
  const image = element("img", { alt: "" });
  const bar = element("span", { className: "bar" });
  const picture = element("div", { className: "picture" }, image, bar);
  const texts = ["name", "chosen", "sub"].map((className) => element("span", { className }));
  const card = element("button", { type: "button", className: "card" }, picture, ...texts);
  card.dataset.id = run.id;
  card.style.setProperty("--ratio", run.width / run.height);
  card.setAttribute("aria-current", String(run.id === state.selected));
  card.addEventListener("click", () => {
    look(run.id);
    openDrawer(false);
    $("stage").scrollIntoView({ block: "nearest" });
  });
  const pin = element("button", { type: "button", className: "pin", textContent: "⇔", title: "Compare the picture shown with this one" });
  pin.addEventListener("click", () => tell("compare", run.id));
  const item = element("li", {}, card, pin);
  item.dataset.created = run.created;
  if (run.group) put(item, groupList(run), (other) => other.dataset.created > item.dataset.created);
  else put(item, $("runs"), (other) => other.dataset.created < item.dataset.created);
  return card;
}

// Puts an item of a list before the first that comes after it.
function put(item, list, comesAfter) {
  list.insertBefore(item, [...list.children].find(comesAfter) ?? null);
}

// Returns where the cards of a group are.
function groupList(run) {
  const present = groupBox(run.group);
  if (present) return present.querySelector("ul");
  const title = element("h3");
  const cancel = element("button", { type: "button", className: "cancel", textContent: "Cancel" });
  cancel.addEventListener("click", () => attempt(() => ask("POST", `/api/groups/${run.group}/cancel`)));
  const remove = element("button", { type: "button", className: "remove", textContent: "Delete" });
  remove.addEventListener("click", () => removeGroup(run, remove));
  const zip = element("a", { className: "button zip", textContent: "Zip", href: `/api/results.zip?group=${run.group}`, title: "Download these pictures" });
  const list = element("ul");
  const box = element("li", { className: "group" }, element("div", { className: "heading" }, title, cancel, zip, remove), list);
  box.dataset.group = run.group;
  box.dataset.created = run.created;
  put(box, $("runs"), (other) => other.dataset.created < box.dataset.created);
  return list;
}

function removeGroup(run, button) {
  if (button.dataset.sure) attempt(() => Promise.all(groupOf(run).map((one) => ask("DELETE", `/api/runs/${one.id}`))));
  button.dataset.sure = "yes";
  flash(button, "Really?", () => delete button.dataset.sure);
}

function drawGroup(group) {
  const box = groupBox(group[0].group);
  const { content, style } = group[0].titles;
  const ended = group.filter((run) => run.ended).length;
  const left = ended < group.length ? `${ended} of ` : "";
  setText(box.querySelector("h3"), `${left}${counted(group.length, "variation")} of ${stem((content ?? style)[0])}`);
  box.querySelector(".cancel").hidden = !left;
  box.querySelector(".remove").hidden = Boolean(left);
  box.querySelector(".zip").hidden = !group.some((run) => run.result);
}

function drawCard(run) {
  const card = cardOf(run.id) ?? makeCard(run);
  const group = groupOf(run);
  if (group.length) drawGroup(group);
  const [image, bar] = card.querySelector(".picture").children;
  const url = pictureOf(run);
  if (image.getAttribute("src") !== url) image.src = url;
  card.classList.toggle("pending", !run.thumbnail && !run.picture);
  card.classList.toggle("nothing", run.ended && !run.result);
  card.nextSibling.hidden = !run.result;
  bar.style.width = run.ended ? "0" : `${100 * run.done}%`;
  const painting = paintingOf(run);
  const chosen = differences(run, group);
  const named = !group.length || !chosen || group.some((other) => paintingOf(other) !== painting);
  setText(card.querySelector(".name"), named ? painting : "");
  setText(card.querySelector(".chosen"), chosen);
  setText(card.querySelector(".sub"), run.state === "finished" ? timeOf(run) : cardState(run));
  card.title = `${titleOf(run)}, ${run.width}×${run.height}, ${new Date(1000 * run.created).toLocaleString()}`;
  card.nextSibling.setAttribute("aria-label", `Compare with ${painting}, ${chosen}`);
}

// What a card shows: the picture, while it is painted the latest preview, before that the photograph.
function pictureOf(run) {
  if (run.thumbnail) return `/api/runs/${run.id}/thumbnail`;
  if (run.picture && !run.ended) return `/api/runs/${run.id}/preview?n=${run.attempts}.${run.picture}`;
  return `/api/pictures/${(run.inputs.content ?? run.inputs.style)[0]}`;
}

// Looks at the next run in the gallery, or the one before.
function step(by) {
  const cards = [...document.querySelectorAll(".card")];
  const here = cards.findIndex((card) => card.dataset.id === state.selected);
  const next = cards[Math.min(Math.max(here + by, 0), cards.length - 1)];
  if (!next) return;
  look(next.dataset.id);
  next.scrollIntoView({ block: "nearest" });
}

// On narrow screens the gallery is a drawer.
function openDrawer(open) {
  const had = $("gallery").contains(document.activeElement);
  const drawer = $("show-gallery").offsetParent !== null;
  $("gallery").classList.toggle("open", open && drawer);
  $("show-gallery").setAttribute("aria-expanded", String(open && drawer));
  if (!drawer) return;
  if (open) $("hide-gallery").focus();
  else if (had) $("show-gallery").focus();
}

function connect() {
  listen(
    (all) => {
      const present = new Set(all.map((run) => run.id));
      for (const id of state.runs.keys()) if (!present.has(id)) take({ id, gone: true });
      // All of a group are known before one of it is drawn.
      for (const run of all) if (!state.runs.has(run.id)) state.runs.set(run.id, run);
      all.forEach(take);
      if (!current()) look(newest()?.id ?? null);
    },
    (run) => {
      take(run);
      if (!current() && state.runs.size) look(newest().id);
    },
  );
}

// Browsers open few connections to one server: a page that nobody looks at gives its own back,
// and asks now and then, for its title.
function goOnHidden() {
  let polling = 0;
  document.addEventListener("visibilitychange", () => {
    clearInterval(polling);
    if (!document.hidden) {
      connect();
      return;
    }
    hush();
    polling = setInterval(async () => {
      if (!state.selected || current()?.ended) return;
      try {
        take(await ask("GET", `/api/runs/${state.selected}`));
      } catch {
        // Once somebody looks, the stream tells of it.
      }
    }, POLL_EVERY);
  });
}

export function setUpGallery() {
  on("run", take);
  on("look", (id) => {
    for (const card of document.querySelectorAll(".card")) {
      card.setAttribute("aria-current", String(card.dataset.id === id));
    }
  });
  $("clear").addEventListener("click", () => attempt(async () => {
    for (const run of failed()) await ask("DELETE", `/api/runs/${run.id}`);
    $("gallery").querySelector(".card")?.focus();
  }));
  $("show-gallery").addEventListener("click", () => openDrawer(!$("gallery").classList.contains("open")));
  $("hide-gallery").addEventListener("click", () => openDrawer(false));
  $("gallery").addEventListener("keydown", (event) => {
    if (event.key === "Escape") openDrawer(false);
  });
  bind(["ArrowLeft"], "The picture before it in the gallery", () => step(-1));
  bind(["ArrowRight"], "The next picture in the gallery", () => step(1));
  bind(["g"], "The gallery, where it is a drawer", () => openDrawer(!$("gallery").classList.contains("open")));
  goOnHidden();
  connect();
}
