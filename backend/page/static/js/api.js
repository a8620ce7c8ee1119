// Calls of the service; what goes wrong is one kind of error with the service's own words.

import { credentials } from "./session.js";

/** `status` is 0 where the service was not reached; `retryAfter` is in seconds, or null. */
export class ApiError extends Error {
  constructor(status, code, message, details = null, retryAfter = null) {
    super(message);
    Object.assign(this, { status, code, details, retryAfter });
  }
}

/** Emits `signedout` when the service does not know the person any more. */
export const events = new EventTarget();

const headers = () => ({
  ...credentials(),
  "X-Timezone": Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC",
});

/** The response of a call that went well, its body not yet read. */
export async function request(method, path, { body, accept, signal } = {}) {
  const sent = { method, signal, credentials: "same-origin", headers: headers() };
  if (accept) sent.headers.Accept = accept;
  if (body !== undefined) {
    sent.headers["Content-Type"] = "application/json";
    sent.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, sent);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError(0, "OFFLINE", "The service cannot be reached. Nothing is lost: try again in a moment.");
  }
  if (response.ok) return response;
  throw await failure(response);
}

async function failure(response) {
  const told = (await response.json().catch(() => ({}))).error ?? {};
  const wait = Number(response.headers.get("Retry-After")) || null;
  if (response.status === 401) events.dispatchEvent(new Event("signedout"));
  return new ApiError(response.status, told.code ?? "UNKNOWN", told.message ?? "Something went wrong.", told.details ?? null, wait);
}

async function json(method, path, body) {
  const response = await request(method, path, { body });
  return response.status === 204 ? null : response.json();
}

export const get = (path) => json("GET", path);
export const post = (path, body) => json("POST", path, body);
export const put = (path, body) => json("PUT", path, body);
export const patch = (path, body) => json("PATCH", path, body);
export const remove = (path) => json("DELETE", path);
