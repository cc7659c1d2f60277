// Requests to the HTTP API, and the watch that keeps a page up to date.

import { Problem } from "./problem.js";
import { refresh, token } from "./session.js";

/** @typedef {{body?: unknown, query?: Record<string, string | undefined>, etag?: string, signal?: AbortSignal}} Options */

/**
 * @param {string} method @param {string} path such as `submissions/1`, below `v1/` @param {Options} [options]
 * @returns {Promise<any>} the answer's JSON; undefined if it has none
 */
export async function call(method, path, options) {
  const response = await send(method, path, options);
  return response.status === 204 || response.status === 304 ? undefined : response.json().catch(() => undefined);
}

/** @param {string} path @param {Options} [options] */
export const get = (path, options) => call("GET", path, options);

/** @param {string} path @param {unknown} [body] @param {AbortSignal} [signal] */
export const post = (path, body, signal) => call("POST", path, { body: body ?? {}, signal });

/** @param {string} method @param {string} path @param {Options} [options] */
async function send(method, path, { body, query = {}, etag, signal } = {}) {
  const parameters = new URLSearchParams();
  for (const [name, value] of Object.entries(query)) if (value) parameters.set(name, value);
  const url = `v1/${path}${parameters.size ? `?${parameters}` : ""}`;
  for (let isSecond = false; ; isSecond = true) {
    /** @type {Record<string, string>} */
    const headers = { authorization: `Bearer ${await token().catch(asProblem)}` };
    if (body !== undefined) headers["content-type"] = "application/json";
    if (etag) headers["if-none-match"] = etag;
    const response = await fetch(url, {
      method,
      headers,
      body: body === undefined ? undefined : JSON.stringify(body),
      signal,
      cache: "no-store",
    }).catch(asProblem);
    if (response.status === 401 && !isSecond) await refresh().catch(asProblem);
    else if (response.ok || response.status === 304) return response;
    else throw await problemOf(response);
  }
}

/** @param {unknown} error @returns {never} */
function asProblem(error) {
  if (error instanceof DOMException && error.name === "AbortError") throw error;
  if (error instanceof TypeError) throw new Problem("offline", 0, "Lectern cannot be reached. Please check your connection.");
  throw error;
}

/** @param {Response} response */
async function problemOf(response) {
  const body = await response.json().catch(() => ({}));
  const kind = String(body.type ?? "").replace("urn:problem-type:lectern:", "") || "unknown";
  const message = body.detail || {
    401: "You are not signed in any more. Please sign in again.",
    403: "Your account may not do this.",
    404: "This does not exist, or it was withdrawn.",
    410: "This was deleted when its retention ended.",
    429: "Too many requests at once. Please try again in a moment.",
  }[response.status] || "Lectern has a problem at the moment. Please try again in a minute.";
  return new Problem(kind, response.status, message, body);
}

/**
 * Asks for `path` again and again: after 2 s, then 1.5 times longer each time until 30 s; at once when the page is shown or
 * focused again; not while it is hidden; once a minute when nothing can change by itself any more.
 */
export class Watch {
  #etag = "";
  #delayMs = FIRST_MS;
  #timer = 0;
  #isAsking = false;
  #isAskedAgain = false;

  /**
   * @param {string} path
   * @param {AbortSignal} signal ends the watch
   * @param {(answer: any) => boolean} onChange gets each new answer; returns whether nothing can change by itself any more
   * @param {(problem: unknown) => void} onProblem gets what went wrong, or undefined once that is over
   */
  constructor(path, signal, onChange, onProblem) {
    this.path = path;
    this.signal = signal;
    this.onChange = onChange;
    this.onProblem = onProblem;
    this.isFinal = false;
    addEventListener("focus", () => this.now(), { signal });
    addEventListener("online", () => this.now(), { signal });
    document.addEventListener("visibilitychange", () => document.hidden || this.now(), { signal });
    signal.addEventListener("abort", () => clearTimeout(this.#timer));
    this.now();
  }

  /** Asks at once, for example after a change of one's own. */
  now() {
    this.#delayMs = FIRST_MS;
    if (this.#isAsking) this.#isAskedAgain = true;
    else void this.#ask();
  }

  /** @returns {Promise<void>} */
  async #ask() {
    clearTimeout(this.#timer);
    this.#isAsking = true;
    try {
      const response = await send("GET", this.path, { etag: this.#etag, signal: this.signal });
      if (response.status !== 304) {
        this.#etag = response.headers.get("etag") ?? "";
        this.#delayMs = FIRST_MS;
        this.isFinal = this.onChange(await response.json());
      }
      this.onProblem(undefined);
    } catch (problem) {
      if (!this.signal.aborted) this.onProblem(problem);
    }
    this.#isAsking = false;
    if (this.signal.aborted) return;
    if (this.#isAskedAgain) {
      this.#isAskedAgain = false;
      return this.#ask();
    }
    this.#timer = setTimeout(() => document.hidden || this.#ask(), this.isFinal ? FINAL_MS : this.#delayMs);
    this.#delayMs = Math.min(this.#delayMs * 1.5, LONGEST_MS);
  }
}

const FIRST_MS = 2_000;
const LONGEST_MS = 30_000;
const FINAL_MS = 60_000;
