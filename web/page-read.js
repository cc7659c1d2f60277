// The page on which an evaluator reads one submission: its files, and the chosen one of them. Everything works by keys.

import "./lesson-document.js";
import { context } from "./context.js";
import { SubmissionFeed } from "./submission-feed.js";
import { badge, failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { day, documentState, plural, progress, submissionState, titleOf, visibleName } from "./words.js";

/** @import {DocumentSummary} from "./types.d.ts" */

class ReadPage extends View {
  submissionId = "";
  #documentId = "";
  /** @type {SubmissionFeed | undefined} */
  #feed;
  /** The element of the chosen document. @type {any} */
  #panel;
  #panelOf = "";

  /** @param {string} documentId */
  set documentId(documentId) {
    this.#documentId = documentId;
    this.update();
  }

  connectedCallback() {
    super.connectedCallback();
    this.#feed = new SubmissionFeed(this.submissionId, this.signal, () => this.update());
    this.listen(document, "keydown", this.#press);
  }

  #press = (/** @type {KeyboardEvent} */ event) => {
    const target = /** @type {HTMLElement} */ (event.target);
    if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    if (target.matches("input:not([type=range]), select, textarea")) return;
    // A focused control keeps its own keys.
    if (target.matches("input[type=range]") && event.key.startsWith("Arrow")) return;
    if ((event.key === " " || event.key === "Enter") && target.closest("button, a, summary")) return;
    if (event.key === "?") void this.#help();
    else if (localStorage.getItem("lectern.shortcuts") === "off") return;
    else if (event.key === "[" || event.key === "]") this.#step(event.key === "]" ? 1 : -1);
    else if (!this.#panel?.press(event.key)) return;
    event.preventDefault();
  };

  /** @param {number} count */
  #step(count) {
    const documents = this.#shown;
    const next = documents[documents.findIndex(({ documentId }) => documentId === this.#panelOf) + count];
    if (next) location.hash = `#/read/${this.submissionId}/${next.documentId}`;
  }

  #help = async () => {
    const { showKeys } = await import("./keys-help.js");
    await showKeys();
  };

  /** What is to be read: neither replaced nor removed files. */
  get #shown() {
    return (this.#feed?.documents ?? []).filter(({ supersededBy, isWithdrawn }) => !supersededBy && !isWithdrawn);
  }

  /** The chosen document, or the best one to begin with. @param {DocumentSummary[]} documents */
  #choose(documents) {
    return documents.find(({ documentId }) => documentId === this.#documentId)
      ?? documents.find(({ state, kind }) => state === "Ready" && kind === "video")
      ?? documents.find(({ state }) => state === "Ready") ?? documents[0];
  }

  template() {
    const feed = this.#feed;
    const { roles } = context.me;
    const [href, label] = roles.includes("evaluator") ? ["#/review", "Lessons to evaluate"] : roles.includes("operator")
      ? ["#/operations", "Operations"] : [`#/submissions/${this.submissionId}`, "The lesson's files"];
    const back = html`<nav aria-label="Back"><a class="back" href=${href}>${icon("back")}${label}</a></nav>`;
    if (!feed?.detail) {
      return html`${back}<header class="page-head"><h1 tabindex="-1">Lesson</h1></header>
        ${feed?.problem ? failure(feed.problem, () => feed.refresh()) : loading("Loading the lesson", 4)}`;
    }
    const { submission } = feed.detail;
    const documents = this.#shown;
    const chosen = this.#choose(documents);
    if (chosen && chosen.documentId !== this.#panelOf) {
      this.#panelOf = chosen.documentId;
      this.#panel = document.createElement("lesson-document");
      Object.assign(this.#panel, { submissionId: this.submissionId, begun: submission.createdAt });
    }
    if (chosen) this.#panel.show(chosen);
    const [tone, words] = submissionState(submission);
    return html`${back}
      <header class="page-head"><div class="grow"><h1 tabindex="-1">${titleOf(submission)}</h1>
        <p class="muted meta"><span>${day(submission.createdAt)}</span><span>${progress(submission)}</span></p></div>
        ${badge(tone, words)}
        <button class="quiet square" aria-label="Keys (?)" title="Keys (?)" @click=${this.#help}>${icon("help")}</button></header>
      ${feed.problem ? notice("warn", `${feed.problem instanceof Error ? feed.problem.message : ""} You see what was last known.`) : nothing}
      ${this.#partial(submission)}
      ${documents.length
        ? html`<div class="reader ${documents.length > 1 ? "" : "single"}">
            ${documents.length > 1 ? html`<nav class="files" aria-label="Files of this lesson"><ul>${documents.map((one) => this.#tab(one, one === chosen))}</ul>
              ${feed.cursor ? html`<button class="quiet small" @click=${() => feed.more()}>${icon("down")}More files</button>` : nothing}</nav>` : nothing}
            ${this.#panel}</div>`
        : html`<p class="muted">No file of this lesson has arrived yet. This page updates by itself.</p>`}`;
  }

  /** @param {import("./types.d.ts").SubmissionSummary} submission */
  #partial({ open, ready, rejected, failed }) {
    const total = open + ready + rejected + failed;
    if (open && total > 1) return notice("busy", html`<strong>${ready} of ${total} files are ready.</strong> The others appear here by themselves.`);
    if (rejected + failed && ready) return notice("warn", html`<strong>${plural(rejected + failed, "file")} of ${total} cannot be read.</strong> The teacher can replace ${rejected + failed === 1 ? "it" : "them"}; you can read the rest.`);
    return nothing;
  }

  /** @param {DocumentSummary} document @param {boolean} isChosen */
  #tab(document, isChosen) {
    const [tone, words] = documentState(document);
    return html`<li><a href="#/read/${this.submissionId}/${document.documentId}" aria-current=${isChosen ? "page" : nothing}>
      ${icon(document.kind ?? "document")}<span class="grow"><span class="name">${visibleName(document.fileName)}</span>
        <small class="state ${tone}">${words}</small></span></a></li>`;
  }
}

customElements.define("read-page", ReadPage);
