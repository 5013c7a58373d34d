// What the page knows: the runs, which of them is looked at, the pictures that are chosen. Who
// changes it tells so, and who shows it listens; everything comes from the server, so that a
// reload changes nothing.

export const state = {
  form: null, // what the server says of the form
  runs: new Map(),
  selected: sessionStorage.getItem("selected"),
  chosen: { content: [], style: [] }, // pictures
  uploads: { content: null, style: null }, // those under way
  blend: [], // part of each painting, together 1
  synthesis: false, // whether there is to be no photograph
  labels: {}, // ids of guides and mask by what they are for
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

// The runs that were asked for together with a run, itself among them.
export function groupOf(run) {
  return run.group ? [...state.runs.values()].filter((other) => other.group === run.group) : [];
}

// Looks at a run, or at none.
export function look(id) {
  state.selected = id;
  if (id) sessionStorage.setItem("selected", id);
  else sessionStorage.removeItem("selected");
  tell("look", id);
}
