// What the page knows: the runs, which of them is looked at, the pictures that are chosen. Who
// changes it tells so, and who shows it listens; everything comes from the server, so that a
// reload changes nothing.

export const state = {
  form: null, // what the server says of the form
  runs: new Map(),
  selected: sessionStorage.getItem("selected"),
  chosen: { content: null, style: null },
  uploads: { content: null, style: null },
};

const listeners = new EventTarget();

export function tell(name, detail) {
  listeners.dispatchEvent(new CustomEvent(name, { detail }));
}

export function on(name, listener) {
  listeners.addEventListener(name, (event) => listener(event.detail));
}

export const current = () => state.runs.get(state.selected);

export const failed = () => [...state.runs.values()].filter((run) => run.ended && !run.result);

export function newest() {
  const all = [...state.runs.values()].sort((one, other) => other.created - one.created);
  return all.find((run) => ["running", "paused"].includes(run.state)) ?? all[0];
}

// Looks at a run, or at none.
export function look(id) {
  state.selected = id;
  if (id) sessionStorage.setItem("selected", id);
  else sessionStorage.removeItem("selected");
  tell("look", id);
}
