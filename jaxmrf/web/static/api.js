// What the server is asked, and its stream of events.

import { $, setText } from "./dom.js";

const TRY_AGAIN = 2000;

export class Refused extends Error {
  constructor(message, control) {
    super(message);
    this.control = control;
  }
}

export async function ask(method, path, body) {
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

let stream = null;

// Listens from now on: `all` is called with all runs, `one` with each that changes.
export function listen(all, one) {
  hush();
  stream = new EventSource("/api/events");
  stream.addEventListener("open", () => setText($("connection"), ""));
  stream.addEventListener("runs", (event) => all(JSON.parse(event.data)));
  stream.addEventListener("run", (event) => one(JSON.parse(event.data)));
  stream.addEventListener("error", () => {
    setText($("connection"), "Not connected, trying again…");
    if (stream.readyState !== EventSource.CLOSED) return;
    setTimeout(() => listen(all, one), TRY_AGAIN);
    ask("GET", "/api/form").catch((error) => setText($("connection"), error.message));
  });
}

export function hush() {
  stream?.close();
}

// Calls until the server answers.
export async function askUntilAnswered(path) {
  for (;;) {
    try {
      return await ask("GET", path);
    } catch (error) {
      setText($("connection"), error.message);
      await new Promise((resolve) => setTimeout(resolve, TRY_AGAIN));
    }
  }
}
