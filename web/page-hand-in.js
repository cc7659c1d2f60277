// The page on which a teacher puts a submission together: a title and files, each checked before it is sent.

import "./file-picker.js";
import { acceptedFiles, checkResult } from "./accepted-files.js";
import { post } from "./api.js";
import { context } from "./context.js";
import { checkFile } from "./file-check.js";
import { FileUpload } from "./file-upload.js";
import { announce, failure, html, icon, nothing, View } from "./view.js";
import { plural, size, visibleName } from "./words.js";

/** @import {SubmissionDetail} from "./types.d.ts" */
/** @import {Check} from "./file-check.js" */

/** @typedef {{file: File, check?: Check}} Choice */

class HandInPage extends View {
  #title = "";
  /** @type {Choice[]} */
  #choices = [];
  #isSending = false;
  /** @type {unknown} */
  #error;
  #isTitleMissing = false;

  #add = async (/** @type {CustomEvent<File[]>} */ { detail: files }) => {
    const { types } = context.config;
    const choices = files.map((file) => /** @type {Choice} */ ({ file }));
    this.#choices.push(...choices);
    this.update();
    // The page that comes next loads now, so that it does not delay the upload.
    void import("./page-submission.js");
    for (const choice of choices) {
      choice.check = await checkFile(choice.file, types, context.me.quota.maxFileBytes);
      this.update();
    }
    const refused = choices.filter(({ check }) => check?.refusal).length;
    announce(`${plural(files.length, "file")} checked${refused ? `, ${refused} cannot be handed in` : ""}.`);
  };

  #handIn = async (/** @type {Event} */ event) => {
    event.preventDefault();
    this.#isTitleMissing = !this.#title.trim();
    this.#error = undefined;
    if (this.#isTitleMissing) {
      await Promise.resolve(this.update());
      /** @type {HTMLElement} */ (this.querySelector("#title")).focus();
      return;
    }
    this.#isSending = true;
    this.update();
    const files = this.#choices.map(({ file }) => file);
    try {
      /** @type {SubmissionDetail} */
      const { submission, pending } = await post("submissions", {
        title: this.#title.trim(),
        files: files.map(({ name, size: sizeBytes }) => ({ name, sizeBytes })),
      });
      // The API answers in the order of the request. A name may differ, because the API removes hidden characters.
      for (const [index, file] of files.entries()) void new FileUpload(submission.submissionId, pending[index].fileId, file).start();
      location.hash = `#/submissions/${submission.submissionId}`;
    } catch (error) {
      this.#error = error;
      this.#isSending = false;
      this.update();
    }
  };

  template() {
    const choices = this.#choices;
    const { quota } = context.me;
    const bytes = choices.reduce((sum, { file }) => sum + file.size, 0);
    const isBlocked = choices.some(({ check }) => !check || check.refusal);
    const tooMuch = choices.length > quota.maxFilesPerSubmission
      ? `A lesson takes at most ${quota.maxFilesPerSubmission} files. Please remove ${choices.length - quota.maxFilesPerSubmission}.`
      : bytes > quota.maxOpenBytes
        ? `The files are ${size(bytes)} in all; the limit for your unfinished lessons is ${size(quota.maxOpenBytes)}. Please remove some.` : "";
    return html`
      <nav aria-label="Back"><a class="back" href="#/submissions">${icon("back")}My lessons</a></nav>
      <header class="page-head"><h1 tabindex="-1">Hand in a lesson</h1></header>
      <form class="stack wide" novalidate @submit=${this.#handIn}>
        <div class="field">
          <label for="title">Title of the lesson</label>
          <input id="title" maxlength="200" autocomplete="off" aria-describedby="title-help" aria-invalid=${this.#isTitleMissing}
            .value=${this.#title} @input=${(/** @type {any} */ event) => (this.#title = event.target.value)}>
          <p id="title-help" class=${this.#isTitleMissing ? "bad-text" : "muted"}>
            ${this.#isTitleMissing ? html`${icon("alert")}<span>Please give the lesson a title.</span>` : "For example: Fractions, class 6b. Evaluators see it, so leave out names of pupils."}</p>
        </div>
        <file-picker @files=${this.#add}></file-picker>
        ${acceptedFiles()}
        ${choices.length
          ? html`<ul class="list" aria-label="Chosen files">${choices.map((choice) => html`<li class="card row">
              <span class="medallion">${icon(choice.check?.type?.kind ?? "document")}</span>
              <div class="grow"><strong class="name">${visibleName(choice.file.name)}</strong>
                <span class="muted meta"><span>${size(choice.file.size)}</span>${choice.check?.facts ? html`<span>${choice.check.facts}</span>` : nothing}</span>
                ${checkResult(choice.check)}</div>
              <button type="button" class="quiet square" aria-label="Remove ${visibleName(choice.file.name)}" @click=${() => {
                this.#choices = choices.filter((other) => other !== choice);
                this.update();
              }}>${icon("close")}</button></li>`)}</ul>`
          : nothing}
        ${tooMuch ? html`<p class="bad-text">${icon("alert")}<span>${tooMuch}</span></p>` : nothing}
        ${this.#error ? failure(this.#error) : nothing}
        <div class="bar">
          <button class="primary" ?disabled=${!choices.length || isBlocked || Boolean(tooMuch) || this.#isSending}>
            ${icon("upload")}${choices.length ? `Hand in ${plural(choices.length, "file")}` : "Hand in"}</button>
          <span class="muted">${!choices.length ? "Choose files first." : choices.some(({ check }) => check?.refusal)
            ? "Remove what cannot be handed in first." : `${size(bytes)} in all. You can add files later.`}</span>
        </div>
      </form>`;
  }
}

customElements.define("hand-in-page", HandInPage);
