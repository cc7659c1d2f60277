// What the lists of teachers and evaluators share: they load page by page, and show a submission as a card.

import { get } from "./api.js";
import { badge, failure, html, icon, loading, nothing, View } from "./view.js";
import { day, KIND_NAMES, progress, submissionState, titleOf } from "./words.js";

/** @import {TemplateResult} from "./vendor/lit-html.js" */
/** @import {Kind, SubmissionSummary} from "./types.d.ts" */

/** A page of a filtered list may be empty although more follow. So many pages are read before a person is asked to go on. */
const PAGES_AT_ONCE = 5;

export class SubmissionList extends View {
  /** @type {SubmissionSummary[] | undefined} */
  submissions;
  /** Where the next page begins, if there is one. @type {string | undefined} */
  cursor;
  /** @type {unknown} */
  #error;
  #isLoading = false;

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
  }

  /** Which submissions the list has. @returns {Record<string, string | undefined>} */
  get query() {
    return {};
  }

  #load = async () => {
    this.#isLoading = true;
    this.#error = undefined;
    this.update();
    try {
      const found = this.submissions ?? [];
      const before = found.length;
      for (let pages = 0; pages < PAGES_AT_ONCE && found.length === before; pages += 1) {
        const page = await get("submissions", { query: { ...this.query, cursor: this.cursor }, signal: this.signal });
        found.push(...page.submissions);
        this.cursor = page.cursor;
        if (!page.cursor) break;
      }
      this.submissions = found;
    } catch (error) {
      this.#error = error;
    }
    this.#isLoading = false;
    this.update();
  };

  /**
   * @param {string} path of a submission's page, before its id @param {TemplateResult} empty what an empty list shows
   * @param {boolean} [forTeacher]
   */
  list(path, empty, forTeacher = false) {
    const list = this.submissions;
    return html`${this.#error ? failure(this.#error, this.#load) : nothing}
      ${!list ? (this.#error ? nothing : loading("Loading the lessons", 5)) : list.length
        ? html`<ul class="list">${list.map((one) => submissionCard(one, path + one.submissionId, forTeacher))}</ul>` : empty}
      ${list && this.cursor
        ? html`<p class="centre"><button ?disabled=${this.#isLoading} @click=${this.#load}>${icon("down")}${list.length ? "Show more" : "Look further"}</button></p>` : nothing}`;
  }
}

/** @param {SubmissionSummary} submission @param {string} href @param {boolean} forTeacher */
function submissionCard(submission, href, forTeacher) {
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
