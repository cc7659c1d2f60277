// The base of every element, and the small parts that all pages share: icons, notices, dialogs, announcements.

import { html, nothing, render } from "./vendor/lit-html.js";

export { html, nothing };

/** An element that renders a lit template into itself. `update()` renders soon, once for any number of calls. */
export class View extends HTMLElement {
  #isQueued = false;
  #lifetime = new AbortController();

  /** Aborted when the element leaves the page. */
  get signal() {
    return this.#lifetime.signal;
  }

  connectedCallback() {
    if (this.#lifetime.signal.aborted) this.#lifetime = new AbortController();
    this.update();
  }

  disconnectedCallback() {
    this.#lifetime.abort();
  }

  update() {
    if (this.#isQueued) return;
    this.#isQueued = true;
    queueMicrotask(() => {
      this.#isQueued = false;
      if (this.isConnected) this.updateNow();
    });
  }

  updateNow() {
    render(this.template(), this);
  }

  /** @returns {unknown} */
  template() {
    return nothing;
  }

  /**
   * Listens until the element leaves the page.
   * @param {EventTarget} target @param {string} type @param {(event: any) => void} listener
   */
  listen(target, type, listener) {
    target.addEventListener(type, listener, { signal: this.signal });
  }
}

const CIRCLE = "M12 3.5a8.5 8.5 0 1 1 0 17 8.5 8.5 0 0 1 0-17z";

/** @type {Record<string, string>} Outlines on a grid of 24 by 24. */
const OUTLINES = {
  add: "M12 5v14M5 12h14",
  alert: "M12 4 2.8 20h18.4zM12 10v4.5M12 17.4v.1",
  audio: "M9 18V6l10-2v12M9 18a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0zM19 16a2.5 2.5 0 1 1-5 0 2.5 2.5 0 0 1 5 0z",
  back: "M15 5l-7 7 7 7",
  captions: "M3 6h18v12H3zM10.5 10.6a2 2 0 1 0 0 2.8M17 10.6a2 2 0 1 0 0 2.8",
  check: "M5 12.5l4.5 4.5L19 7.5",
  clock: `${CIRCLE}M12 7.5V12l3 2`,
  close: "M6 6l12 12M18 6L6 18",
  contrast: `${CIRCLE}M12 3.5v17M12 7l5.5-.5M12 11h8M12 15h7`,
  document: "M6 3h8l5 5v13H6zM14 3v5h5M9 13h7M9 17h5",
  down: "M5 9l7 7 7-7",
  download: "M12 4v11M7 10.5l5 5 5-5M5 20h14",
  empty: "M4 13l3-8h10l3 8v6H4zM4 13h5l1.5 2.5h3L15 13h5",
  flow: "M4 6h7M4 12h12M4 18h9M17 3.5L20 6l-3 2.5",
  forward: "M9 5l7 7-7 7",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
  help: `${CIRCLE}M9.6 9.5a2.4 2.4 0 1 1 3.6 2.1c-.8.5-1.2 1-1.2 2M12 16.4v.1`,
  info: `${CIRCLE}M12 11v5.5M12 7.6v.1`,
  key: "M8 11.5a4 4 0 1 1 0 8 4 4 0 0 1 0-8zM11 12.7L19 4.5M15.5 8l3 3",
  leave: "M14 4h5v16h-5M10 8l-4 4 4 4M6 12h9",
  muted: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM16 10l5 5M21 10l-5 5",
  pause: "M8 5v14M16 5v14",
  picture: "M3.5 5h17v14h-17zM3.5 16l5-5 4 4 3-2.5 5 4M15.5 9.2v.1",
  play: "M7 4.5l12 7.5-12 7.5z",
  read: "M12 6.5C9 4.5 6 4.5 3 5.5v13c3-1 6-1 9 1 3-2 6-2 9-1v-13c-3-1-6-1-9 1zM12 6.5v13",
  repeat: "M19.5 12a7.5 7.5 0 1 1-2.2-5.3M19.5 3.5v4h-4",
  search: "M10.5 4a6.5 6.5 0 1 1 0 13 6.5 6.5 0 0 1 0-13zM15.5 15.5L21 21",
  send: "M21 3.5L3 11l7 3 3 7zM10 14l4.5-4.5",
  sound: "M4 9.5v5h3.5L12 19V5L7.5 9.5zM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a8 8 0 0 1 0 11",
  trash: "M4 6.5h16M9 6.5V4h6v2.5M6.5 6.5l1 14h9l1-14M10 10.5v6M14 10.5v6",
  up: "M5 15l7-7 7 7",
  upload: "M12 16V4.5M7 9l5-5 5 5M4 15v5h16v-5",
  video: "M3 6h12v12H3zM15 10.5l6-3.5v10l-6-3.5z",
};

/** An icon. It says nothing to a screen reader: the text beside it, or the button's label, does. @param {string} name */
export function icon(name) {
  return html`<svg class="icon" viewBox="0 0 24 24" aria-hidden="true" focusable="false"><path d=${OUTLINES[name] ?? ""}></path></svg>`;
}

/** @typedef {"good" | "busy" | "warn" | "bad" | "plain"} Tone */

const TONE_ICONS = { good: "check", busy: "clock", warn: "alert", bad: "alert", plain: "info" };

/** A short state with icon, text and colour. @param {Tone} tone @param {unknown} text */
export function badge(tone, text) {
  return html`<span class="badge ${tone}">${icon(TONE_ICONS[tone])}${text}</span>`;
}

/** A framed message. @param {Tone} tone @param {unknown} content @param {unknown} [actions] */
export function notice(tone, content, actions = nothing) {
  return html`<div class="notice ${tone}" role=${tone === "bad" ? "alert" : nothing}>${icon(TONE_ICONS[tone])}
    <div class="grow">${content}</div>${actions}</div>`;
}

/**
 * What a page shows where a list has nothing.
 * @param {string} name @param {string} title @param {unknown} text @param {unknown} [action]
 */
export function emptyState(name, title, text, action = nothing) {
  return html`<div class="empty"><span class="medallion">${icon(name)}</span><h2>${title}</h2><p>${text}</p>${action}</div>`;
}

/** Grey shapes while the first answer is on its way. @param {string} label @param {number} [rows] */
export function loading(label, rows = 3) {
  return html`<div role="status" class="stack"><span class="hidden">${label}</span>
    ${Array.from({ length: rows }, () => html`<div class="skeleton" aria-hidden="true"></div>`)}</div>`;
}

/** A page's error, with a way to try again. @param {unknown} error @param {() => void} [again] */
export function failure(error, again) {
  const text = error instanceof Error ? error.message : String(error);
  const button = again && html`<button class="small" @click=${again}>${icon("repeat")}Try again</button>`;
  return notice("bad", text, button ?? nothing);
}

/** Says something to screen readers without moving the focus. @param {string} text */
export function announce(text) {
  const region = document.getElementById("announcements");
  if (region) region.textContent = region.textContent === text ? `${text}\u00a0` : text;
}
