// The evaluators' list of submissions, with filters.

import { get } from "./api.js";
import { submissionCard } from "./page-submissions.js";
import { emptyState, failure, html, icon, loading, nothing, View } from "./view.js";
import { KIND_NAMES } from "./words.js";

/** @import {SubmissionSummary} from "./types.d.ts" */

/** @typedef {{state?: string, type?: string, from?: string, to?: string}} Filters */

const STATES = { "": "All", Ready: "Ready to read", InProgress: "In progress", NeedsAttention: "With problems" };
/** A page of a filtered list may be empty although more follow. So many pages are read before a person is asked to go on. */
const PAGES_AT_ONCE = 5;

class ReviewPage extends View {
  /** @type {Filters} */
  filters = {};
  /** @type {SubmissionSummary[] | undefined} */
  #submissions;
  /** @type {string | undefined} */
  #cursor;
  /** @type {unknown} */
  #error;
  #isLoading = false;

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
  }

  #load = async () => {
    this.#isLoading = true;
    this.#error = undefined;
    this.update();
    const { state, type, from, to } = this.filters;
    try {
      const found = this.#submissions ?? [];
      const before = found.length;
      for (let pages = 0; pages < PAGES_AT_ONCE && found.length === before; pages += 1) {
        const query = { state, type, from: from && startOfDay(from), to: to && startOfDay(to, 1), cursor: this.#cursor };
        const page = await get("submissions", { query, signal: this.signal });
        found.push(...page.submissions);
        this.#cursor = page.cursor;
        if (!page.cursor) break;
      }
      this.#submissions = found;
    } catch (error) {
      this.#error = error;
    }
    this.#isLoading = false;
    this.update();
  };

  /** @param {Filters} change */
  #filter(change) {
    const filters = Object.entries({ ...this.filters, ...change }).filter(([, value]) => value);
    location.hash = filters.length ? `#/review?${new URLSearchParams(filters)}` : "#/review";
  }

  template() {
    const { state = "", type = "", from = "", to = "" } = this.filters;
    const list = this.#submissions;
    const isFiltered = Boolean(state || type || from || to);
    const clear = html`<a class="button" href="#/review">Show all lessons</a>`;
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
      ${this.#error ? failure(this.#error, this.#load) : nothing}
      ${!list ? (this.#error ? nothing : loading("Loading the lessons", 5)) : list.length
        ? html`<ul class="list">${list.map((one) => submissionCard(one, `#/read/${one.submissionId}`))}</ul>`
        : isFiltered
          ? emptyState("search", this.#cursor ? "Nothing so far" : "No lesson matches", this.#cursor ? "Older lessons have not been looked through yet." : "Try another state, kind of file or date.", clear)
          : emptyState("empty", "No lessons yet", "As soon as a teacher hands in a lesson, it appears here.")}
      ${list && this.#cursor
        ? html`<p class="centre"><button ?disabled=${this.#isLoading} @click=${this.#load}>${icon("down")}${list.length ? "Show more" : "Look further"}</button></p>` : nothing}`;
  }
}

/** Midnight in the time zone of this person, `later` days later, as RFC 3339. @param {string} date such as 2026-11-30 */
function startOfDay(date, later = 0) {
  const [year, month, dayOfMonth] = date.split("-").map(Number);
  return new Date(year, month - 1, dayOfMonth + later).toISOString();
}

customElements.define("review-page", ReviewPage);
