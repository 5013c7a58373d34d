// The gallery: all runs, those that wait too.

import { $, element, setText } from "./dom.js";
import { ask, hush, listen } from "./api.js";
import { current, failed, look, newest, on, state, tell } from "./state.js";
import { attempt } from "./stage.js";
import { stem } from "./words.js";

const POLL_EVERY = 2000;

const cardOf = (id) => document.querySelector(`.card[data-id="${CSS.escape(id)}"]`);

// Takes in what the server tells of a run.
function take(run) {
  if (run.gone) {
    state.runs.delete(run.id);
    cardOf(run.id)?.parentElement.remove();
    if (state.selected === run.id) look(newest()?.id ?? null);
  } else {
    const refused = run.control && run.ended && state.runs.get(run.id)?.ended === false;
    state.runs.set(run.id, run);
    drawCard(run);
    if (refused) tell("refused", run);
    if (run.id === state.selected) tell("shown");
  }
  $("nothing").hidden = state.runs.size > 0;
  $("clear").hidden = !failed().length;
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
  card.setAttribute("aria-current", String(run.id === state.selected));
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
  const card = cardOf(run.id) ?? makeCard(run);
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

function connect() {
  listen(
    (all) => {
      const present = new Set(all.map((run) => run.id));
      for (const id of state.runs.keys()) if (!present.has(id)) take({ id, gone: true });
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
  goOnHidden();
  connect();
}
