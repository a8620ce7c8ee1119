// The tasks, the same in all tabs of this browser, and fresh within seconds while one is looked at.

import { get } from "./api.js";

const EVERY = 5000;
const channel = "BroadcastChannel" in window ? new BroadcastChannel("todo.tasks") : null;

/** Emits `news` with the tasks in `detail`, oldest news never after newer. */
export const tasksNews = new EventTarget();

let told = 0;
let asking = null;

function tell(list, at) {
  if (at <= told) return;
  told = at;
  tasksNews.dispatchEvent(new CustomEvent("news", { detail: list }));
}

/** Ask now; who asks meanwhile gets the answer to a question asked after theirs. */
export async function refreshTasks() {
  const before = asking;
  const turn = (async () => {
    await before?.catch(() => {});
    if (asking !== turn) return asking;
    const at = Date.now();
    const list = await get("/api/tasks");
    tell(list, at);
    channel?.postMessage({ list, at });
    return list;
  })();
  asking = turn;
  return turn;
}

/** One tab asks for all; a hidden tab does not ask, and asks at once when it is looked at again. */
export function keepFresh() {
  channel?.addEventListener("message", ({ data }) => tell(data.list, data.at));
  const ask = () => {
    if (document.hidden || Date.now() - told < EVERY - 500) return;
    const one = (lock) => lock && refreshTasks().catch(() => {});
    if (navigator.locks) navigator.locks.request("todo.tasks", { ifAvailable: true }, one);
    else one(true);
  };
  setInterval(ask, EVERY);
  document.addEventListener("visibilitychange", ask);
}

/** Forget what was told, when another person signs in. */
export function forgetTasks() {
  told = 0;
}
