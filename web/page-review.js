// The evaluators' list of submissions, with filters.

import { SubmissionList } from "./submission-list.js";
import { emptyState, html, icon, nothing } from "./view.js";
import { KIND_NAMES } from "./words.js";

/** @typedef {{state?: string, type?: string, from?: string, to?: string}} Filters */

const STATES = { "": "All", Ready: "Ready to read", InProgress: "In progress", NeedsAttention: "With problems" };

class ReviewPage extends SubmissionList {
  /** @type {Filters} */
  filters = {};

  get query() {
    const { from, to, ...others } = this.filters;
    return { ...others, from: from && startOfDay(from), to: to && startOfDay(to, 1) };
  }

  /** @param {Filters} change */
  #filter(change) {
    const filters = Object.entries({ ...this.filters, ...change }).filter(([, value]) => value);
    location.hash = filters.length ? `#/review?${new URLSearchParams(filters)}` : "#/review";
  }

  template() {
    const { state = "", type = "", from = "", to = "" } = this.filters;
    const clear = html`<a class="button" href="#/review">Show all lessons</a>`;
    const empty = !(state || type || from || to)
      ? emptyState("empty", "No lessons yet", "As soon as a teacher hands in a lesson, it appears here.")
      : this.cursor
        ? emptyState("search", "Nothing so far", "Older lessons have not been looked through yet.", clear)
        : emptyState("search", "No lesson matches", "Try another state, kind of file or date.", clear);
    const choose = (/** @type {keyof Filters} */ name) => (/** @type {any} */ event) => this.#filter({ [name]: event.target.value });
    return html`
      <header class="page-head"><div class="grow"><h1 tabindex="-1">Lessons to evaluate</h1><p class="muted">Newest first.</p></div></header>
      <form class="filters" role="search" aria-label="Filter the lessons" @submit=${(/** @type {Event} */ event) => event.preventDefault()}>
        <fieldset class="segments"><legend class="hidden">State</legend>
          ${Object.entries(STATES).map(([value, label]) => html`<label><input type="radio" name="state" value=${value} .checked=${value === state} @change=${choose("state")}><span>${label}</span></label>`)}</fieldset>
        <label class="field"><span>With</span><span class="select"><select @change=${choose("type")}><option value="">any file</option>
          ${Object.entries(KIND_NAMES).map(([value, label]) => html`<option value=${value} .selected=${value === type}>${label}</option>`)}</select>${icon("down")}</span></label>
        <label class="field"><span>From</span><input type="date" .value=${from} max=${to || nothing} @change=${choose("from")}></label>
        <label class="field"><span>To</span><input type="date" .value=${to} min=${from || nothing} @change=${choose("to")}></label>
      </form>
      ${this.list("#/read/", empty)}`;
  }
}

/** Midnight in the time zone of this person, `later` days later, as RFC 3339. @param {string} date such as 2026-11-30 */
function startOfDay(date, later = 0) {
  const [year, month, dayOfMonth] = date.split("-").map(Number);
  return new Date(year, month - 1, dayOfMonth + later).toISOString();
}

customElements.define("review-page", ReviewPage);
