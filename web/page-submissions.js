// A teacher's submissions, newest first.

import { get } from "./api.js";
import { badge, emptyState, failure, html, icon, loading, nothing, View } from "./view.js";
import { day, KIND_NAMES, progress, submissionState, titleOf } from "./words.js";

/** @import {Kind, SubmissionSummary} from "./types.d.ts" */

/** A submission in a list. @param {SubmissionSummary} submission @param {string} href @param {boolean} [forTeacher] */
export function submissionCard(submission, href, forTeacher) {
  const [tone, words] = submissionState(submission, forTeacher);
  const { ready, open, rejected, failed, kinds = [] } = submission;
  const total = ready + open + rejected + failed;
  return html`<li><a class="card row" href=${href}>
    <span class="medallion">${icon(kinds[0] ?? "document")}</span>
    <span class="grow"><strong class="name">${titleOf(submission)}</strong>
      <span class="muted meta"><span>${day(submission.createdAt)}</span><span>${progress(submission)}</span>
        ${kinds.length ? html`<span>${kinds.map((/** @type {Kind} */ kind) => KIND_NAMES[kind]).join(", ")}</span>` : nothing}</span></span>
    ${total > 1 && ready < total ? html`<meter min="0" max=${total} .value=${ready} aria-label="Files ready">${ready} of ${total}</meter>` : nothing}
    ${badge(tone, words)}
  </a></li>`;
}

class SubmissionsPage extends View {
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
    try {
      const page = await get("submissions", { query: { mine: "true", cursor: this.#cursor }, signal: this.signal });
      this.#submissions = [...(this.#submissions ?? []), ...page.submissions];
      this.#cursor = page.cursor;
    } catch (error) {
      this.#error = error;
    }
    this.#isLoading = false;
    this.update();
  };

  template() {
    const list = this.#submissions;
    const handIn = html`<a class="button primary" href="#/hand-in">${icon("add")}Hand in a lesson</a>`;
    return html`
      <header class="page-head"><div class="grow"><h1 tabindex="-1">My lessons</h1>
        <p class="muted">What you have handed in, and how far it is.</p></div>${list?.length ? handIn : nothing}</header>
      ${this.#error ? failure(this.#error, this.#load) : nothing}
      ${!list ? (this.#error ? nothing : loading("Loading your lessons")) : list.length
        ? html`<ul class="list">${list.map((one) => submissionCard(one, `#/submissions/${one.submissionId}`, true))}</ul>`
        : emptyState("upload", "Hand in your first lesson",
            "Add the recording of a lesson, the lesson plan and your material. You see here when evaluators can read it.", handIn)}
      ${list && this.#cursor
        ? html`<p class="centre"><button ?disabled=${this.#isLoading} @click=${this.#load}>${icon("down")}Show more</button></p>` : nothing}`;
  }
}

customElements.define("submissions-page", SubmissionsPage);
