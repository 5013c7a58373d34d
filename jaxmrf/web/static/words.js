// What is said of runs and of times.

export const counted = (number, unit) => `${number} ${unit}${number === 1 ? "" : "s"}`;

// How long something took.
export function duration(seconds) {
  if (seconds < 90) return counted(Math.max(1, Math.round(seconds)), "second");
  if (seconds < 5400) return counted(Math.round(seconds / 60), "minute");
  return counted(Number((seconds / 3600).toFixed(1)), "hour");
}

// How long something will take: no more exact than it can be known.
export function estimate(seconds) {
  if (seconds < 8) return "a few seconds";
  if (seconds < 45) return `about ${5 * Math.round(seconds / 5)} seconds`;
  if (seconds < 60) return "less than a minute";
  return `about ${seconds < 90 ? "a minute" : duration(seconds)}`;
}

// What a picture is called by its file.
export const stem = (title) => title.replace(/\.[a-z]+$/i, "").replaceAll(/[-_]+/g, " ");

export const paintingOf = (run) => run.titles.style.map(stem).join(" and ");

export function titleOf(run) {
  const photograph = run.titles.content ? `${stem(run.titles.content[0])} in` : "In";
  return `${photograph} the manner of ${paintingOf(run)}`;
}

// What a run is doing.
function position(run) {
  const level = run.levels ? `level ${run.level} of ${run.levels}` : "";
  if (run.compiling) return level ? `${level}, compiling` : "compiling";
  if (!level) return "starting";
  if (run.iteration) return `${level}, painting, iteration ${run.iteration} of ${run.iterations}`;
  return `${level}, ${run.decoded ? "painting" : "matching"}`;
}

function remaining(run) {
  if (run.compiling) return run.ready_in === null ? "" : `, ready in ${estimate(run.ready_in)}`;
  return run.left === null ? "" : `, ${estimate(run.left)} left`;
}

export function stateText(run) {
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

// What a card of the gallery says of a run that is not finished.
export function cardState(run) {
  const short = { running: `${Math.round(100 * run.done)} %`, waiting: `in line, ${run.place}` };
  return short[run.state] ?? run.state;
}

// When a run was asked for, and how long it took.
export function timeOf(run) {
  const when = new Date(1000 * run.created);
  const today = when.toDateString() === new Date().toDateString();
  const shown = today
    ? when.toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" })
    : when.toLocaleDateString([], { day: "numeric", month: "short" });
  const took = run.seconds < 90 ? `${Math.max(1, Math.round(run.seconds))} s` : `${Math.round(run.seconds / 60)} min`;
  return `${shown} · ${took}`;
}

const shorter = {
  alpha: (value) => `${Math.round(100 * value)} % painting`,
  size: (value) => `${value} px`,
  style_scale: (value) => `strokes ×${value}`,
};
const told = ([name, value]) => shorter[name]?.(value) ?? `${name.replaceAll("_", " ")} ${value}`;

// The settings that a run has of its own, in few words: those in which it differs from the runs
// that were asked for together with it, or else from the usual; its size where there are none.
export function differences(run, others = []) {
  const differing = ([name, value]) => !others.length || others.some((other) => other.values[name] !== value);
  const chosen = Object.entries(run.values).filter(differing).map(told);
  return chosen.join(", ") || (others.length ? "" : `${Math.max(run.width, run.height)} px`);
}
