// A teacher's page of one submission: what is sent, how far each file is, and what to do next.

import "./file-picker.js";
import { acceptedFiles, checkResult } from "./accepted-files.js";
import { call, post } from "./api.js";
import { context } from "./context.js";
import { ask } from "./dialog.js";
import { Problem } from "./problem.js";
import { SubmissionFeed } from "./submission-feed.js";
import { uploadChanges, uploads } from "./uploads.js";
import { announce, badge, failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { day, documentState, duration, isFinal, moment, plural, progress, size, submissionState, titleOf, visibleName } from "./words.js";

/** @import {DocumentSummary, PendingFile} from "./types.d.ts" */
/** @import {Check} from "./file-check.js" */
/** @import {FileUpload} from "./file-upload.js" */

class SubmissionPage extends View {
  submissionId = "";
  /** @type {SubmissionFeed | undefined} */
  #feed;
  /** @type {unknown} */
  #error;
  /** Late files that the check refused, with the reason. @type {{file: File, check: Check}[]} */
  #refused = [];
  /** The states that were announced, by document. @type {Map<string, string>} */
  #known = new Map();

  connectedCallback() {
    super.connectedCallback();
    this.#feed = new SubmissionFeed(this.submissionId, this.signal, () => {
      this.#announceChanges();
      this.update();
    });
    /** @type {Set<string>} */
    const finished = new Set();
    this.listen(uploadChanges, "change", () => {
      this.update();
      for (const { fileId, phase } of uploads.values()) {
        if (phase !== "done" || finished.has(fileId)) continue;
        finished.add(fileId);
        this.#feed?.refresh();
      }
    });
  }

  get #path() {
    return `submissions/${this.submissionId}`;
  }

  #announceChanges() {
    for (const document of this.#feed?.documents ?? []) {
      const [, words] = documentState(document);
      const before = this.#known.get(document.documentId);
      if (before !== undefined && before !== words && isFinal(document)) announce(`${visibleName(document.fileName)}: ${words}.`);
      this.#known.set(document.documentId, words);
    }
  }

  /** Does something that changes the submission, then shows its state or the error. @param {() => Promise<unknown>} work */
  async #change(work) {
    this.#error = undefined;
    try {
      await work();
    } catch (error) {
      // A file that is gone or has been registered meanwhile: the page only has to catch up.
      if (!(error instanceof Problem && error.status === 404)) this.#error = error;
    }
    this.#feed?.refresh();
    this.update();
  }

  #addLate = async (/** @type {CustomEvent<File[]>} */ { detail: files }) => {
    this.#refused = [];
    for (const file of files) {
      const check = await checkOf(file);
      if (check.refusal) this.#refused.push({ file, check });
      else await this.#change(async () => this.#send(await post(`${this.#path}/files`, { name: file.name, sizeBytes: file.size }), file));
    }
    this.update();
  };

  /** @param {PendingFile} pending @param {File} file @param {boolean} [continues] whether parts of it may have been sent before */
  async #send({ fileId }, file, continues) {
    const { FileUpload } = await import("./file-upload.js");
    void new FileUpload(this.submissionId, fileId, file, continues).start();
  }

  /** Checks a file, and shows why it cannot be handed in. @param {File} file */
  async #isRefused(file) {
    const check = await checkOf(file);
    this.#refused = check.refusal ? [{ file, check }] : [];
    this.update();
    return Boolean(check.refusal);
  }

  /** @param {DocumentSummary} document */
  async #replace(document) {
    const file = await chooseFile(document.mediaType);
    if (!file) return;
    if (await this.#isRefused(file)) return;
    await this.#change(async () =>
      this.#send(await post(`${this.#path}/documents/${document.documentId}/replace`, { name: file.name, sizeBytes: file.size }), file));
  }

  /** Goes on with a file of which another page may have sent parts. @param {PendingFile} pending */
  async #continue(pending) {
    const file = await chooseFile(pending.mediaType);
    if (!file) return;
    if (file.size === pending.sizeBytes) {
      await this.#send(pending, file, true);
      return;
    }
    const answer = await ask({
      title: "This is another file",
      body: html`<p>The file you chose is ${size(file.size)}; ${visibleName(pending.name)} is ${size(pending.sizeBytes)}.
        Some phones change a video each time it is chosen.</p>`,
      actions: [{ value: "", label: "Choose again later" }, { value: "anew", label: "Send this file instead", style: "primary" }],
    });
    if (answer) await this.#sendInstead(pending, file);
  }

  /** Gives up a pending file for another one, once that is declared. @param {PendingFile} pending @param {File} file */
  async #sendInstead({ fileId, name, replaces }, file) {
    if (await this.#isRefused(file)) return;
    await this.#change(async () => {
      const body = { name: file.name, sizeBytes: file.size };
      const declared = await post(`${this.#path}/${replaces ? `documents/${replaces}/replace` : "files"}`, body).catch((error) => {
        if (error.kind === "quota-exceeded") error.message += ` Or remove ${visibleName(name)} here first, and then hand in the other file.`;
        throw error;
      });
      uploads.get(fileId)?.cancel();
      await this.#send(declared, file);
      await call("DELETE", `${this.#path}/files/${fileId}`);
    });
  }

  /** @param {string} path of the pending file or the document @param {string} name @param {string} what @param {() => void} [end] ends its upload */
  async #remove(path, name, what, end) {
    const answer = await ask({
      title: `${what}?`,
      body: html`<p><strong>${visibleName(name)}</strong> is taken out of this lesson. You can add it again later.</p>`,
      actions: [{ value: "", label: "Keep it" }, { value: "remove", label: what, style: "danger" }],
    });
    if (!answer) return;
    end?.();
    await this.#change(() => call("DELETE", `${this.#path}/${path}`));
  }

  #withdraw = async () => {
    const answer = await ask({
      title: "Withdraw this lesson?",
      body: html`<p>All its files, transcripts and findings are deleted for good, here and at the service that processed them.
        Evaluators cannot read it any more. This cannot be undone.</p>`,
      actions: [{ value: "", label: "Keep it" }, { value: "withdraw", label: "Withdraw and delete", style: "danger" }],
    });
    if (!answer) return;
    await this.#change(async () => {
      for (const upload of uploads.values()) if (upload.submissionId === this.submissionId) upload.cancel();
      await call("DELETE", this.#path);
      location.hash = "#/submissions";
      announce("The lesson was withdrawn. Its files are being deleted.");
    });
  };

  template() {
    const feed = this.#feed;
    const back = html`<nav aria-label="Back"><a class="back" href="#/submissions">${icon("back")}My lessons</a></nav>`;
    if (!feed?.detail) {
      return html`${back}<header class="page-head"><h1 tabindex="-1">Lesson</h1></header>
        ${feed?.problem ? failure(feed.problem, () => feed.refresh()) : loading("Loading the lesson")}`;
    }
    const { submission, pending } = feed.detail;
    const [tone, words] = submissionState(submission, true);
    const documents = feed.documents.filter((one) => !one.isWithdrawn && !one.supersededBy);
    const replaced = feed.documents.length - documents.length;
    const refused = submission.rejected + submission.failed;
    return html`${back}
      <header class="page-head"><div class="grow"><h1 tabindex="-1">${titleOf(submission)}</h1>
        <p class="muted meta"><span>Created on ${day(submission.createdAt)}</span><span>${progress(submission)}</span></p></div>
        ${pending.length && tone === "good" ? badge("busy", "More files on their way") : badge(tone, words)}</header>
      ${feed.problem ? notice("warn", `${feed.problem instanceof Error ? feed.problem.message : ""} You see what was last known.`) : nothing}
      ${this.#error ? failure(this.#error) : nothing}
      ${refused ? notice("warn", html`<strong>${plural(refused, "file")} of this lesson cannot be used.</strong> Replace or remove ${refused === 1 ? "it" : "them"}; the other files are not affected.`) : nothing}
      ${tone === "good" && !pending.length ? notice("good", "Evaluators can read everything. There is nothing left to do.") : nothing}
      <section class="stack"><h2>Files</h2>
        <ul class="list">
          ${pending.map((one) => this.#pendingRow(one))}
          ${documents.map((one) => this.#documentRow(one, pending))}
        </ul>
        ${feed.cursor ? html`<p class="centre"><button @click=${() => feed.more()}>${icon("down")}Show more files</button></p>` : nothing}
        ${replaced > 0 ? html`<p class="muted">${plural(replaced, "earlier file")} replaced or removed.</p>` : nothing}
      </section>
      <section class="stack"><h2>Add files</h2>
        ${this.#refused.map(({ file, check }) => notice("bad", html`<strong>${visibleName(file.name)}</strong>${checkResult(check)}`))}
        <file-picker @files=${this.#addLate}></file-picker>${acceptedFiles()}</section>
      <section class="row card calm"><div class="grow"><h2>Withdraw</h2><p class="muted">Deletes this lesson with everything that belongs to it.</p></div>
        <button class="danger" @click=${this.#withdraw}>${icon("trash")}Withdraw the lesson</button></section>`;
  }

  /** @param {PendingFile} pending */
  #pendingRow(pending) {
    const upload = uploads.get(pending.fileId);
    const name = visibleName(pending.name);
    const isDone = upload?.phase === "done";
    const cancel = isDone ? nothing : html`<button class="quiet square" aria-label="Remove ${name}"
      @click=${() => this.#remove(`files/${pending.fileId}`, pending.name, upload ? "Cancel the upload" : "Remove the file", () => upload?.cancel())}>${icon("close")}</button>`;
    return html`<li class="card row"><span class="medallion">${icon(pending.kind)}</span>
      <div class="grow"><strong class="name">${name}</strong>
        <span class="muted meta"><span>${size(pending.sizeBytes)}</span>${pending.replaces ? html`<span>Replaces an earlier file</span>` : nothing}</span>
        ${upload ? this.#uploadState(pending, upload) : html`<p class="warn-text">${icon("alert")}<span>Not sent yet, or only in part. Choose the file again to go on where it stopped.</span></p>`}
      </div>
      <div class="bar">
        ${!upload || upload.isOtherFile ? html`<button @click=${() => this.#continue(pending)}>Choose the file</button>` : nothing}
        ${upload?.isOtherFile ? html`<button class="quiet" @click=${() => this.#sendInstead(pending, upload.file)}>Send this file instead</button>` : nothing}
        ${upload?.isActive ? html`<button class="quiet square" aria-label="Pause ${name}" @click=${() => upload.pause()}>${icon("pause")}</button>` : nothing}
        ${upload?.phase === "paused" ? html`<button @click=${() => upload.start()}>${icon("play")}Resume</button>` : nothing}
        ${upload?.phase === "failed" && !upload.isOtherFile ? html`<button @click=${() => upload.start()}>${icon("repeat")}Try again</button>` : nothing}
        ${cancel}
      </div></li>`;
  }

  /** @param {PendingFile} pending @param {FileUpload} upload */
  #uploadState(pending, upload) {
    if (upload.phase === "done") return html`<p class="good-text">${icon("check")}<span>Arrived. Lectern is checking it.</span></p>`;
    if (upload.phase === "failed") return html`<p class="bad-text" role="alert">${icon("alert")}<span>${upload.error}</span></p>`;
    const { sentBytes, rate } = upload;
    const percent = Math.floor((sentBytes / Math.max(1, pending.sizeBytes)) * 100);
    const left = rate > 0 ? `, about ${duration((pending.sizeBytes - sentBytes) / rate)} left` : "";
    const words = {
      waiting: "Waiting to begin",
      checking: "Comparing with what was sent before",
      sending: `${percent} %, ${size(sentBytes)} of ${size(pending.sizeBytes)}${left}`,
      paused: `Paused at ${percent} %`,
      offline: `Offline at ${percent} %. It goes on by itself when the network is back.`,
      retrying: `Connection lost at ${percent} %. Trying again.`,
      cancelled: "Cancelled",
    }[upload.phase];
    return html`<progress max=${pending.sizeBytes} .value=${sentBytes} aria-label="Upload progress of ${visibleName(pending.name)}"></progress>
      <p class=${upload.phase === "offline" || upload.phase === "retrying" ? "warn-text" : "muted"}>${words}</p>`;
  }

  /** @param {DocumentSummary} document @param {PendingFile[]} pending */
  #documentRow(document, pending) {
    const { kind, documentId } = document;
    const [tone, words] = documentState(document);
    const name = visibleName(document.fileName);
    const isReplaced = pending.some(({ replaces }) => replaces === documentId);
    const isRefused = document.state === "Rejected" || document.state === "Failed";
    const since = document.times[document.state];
    return html`<li class="card row"><span class="medallion">${icon(kind ?? "document")}</span>
      <div class="grow"><strong class="name">${name}</strong>
        <span class="muted meta"><span>${size(document.sizeBytes)}</span>${since ? html`<span>${moment(since)}</span>` : nothing}
          ${isReplaced ? html`<span>A new version is on its way</span>` : nothing}</span>
        ${document.reason ? html`<p class=${isRefused ? "bad-text" : "muted"}>${icon("info")}<span>${document.reason.message}</span></p>` : nothing}
      </div>
      ${badge(tone, words)}
      <div class="bar">
        ${document.state === "Ready" ? html`<a class="button" href="#/read/${this.submissionId}/${documentId}">${icon("read")}Open</a>` : nothing}
        ${isFinal(document) && !isReplaced
          ? html`<button class=${isRefused ? "" : "quiet"} aria-label="Replace ${name}" @click=${() => this.#replace(document)}>${icon("repeat")}Replace</button>` : nothing}
        ${isRefused && !isReplaced
          ? html`<button class="quiet square" aria-label="Remove ${name}" @click=${() => this.#remove(`documents/${documentId}`, document.fileName, "Remove the file")}>${icon("trash")}</button>` : nothing}
      </div></li>`;
  }
}

// The code that checks and sends files is loaded once there is a file.

/** @param {File} file */
async function checkOf(file) {
  const { checkFile } = await import("./file-check.js");
  return checkFile(file, context.config.types, context.me.quota.maxFileBytes);
}

/** Opens the file dialog. Resolves without a file if it was closed. @param {string} [mediaType] @returns {Promise<File | undefined>} */
function chooseFile(mediaType) {
  const input = document.createElement("input");
  input.type = "file";
  const type = context.config.types.find((one) => one.mediaType === mediaType);
  if (type) input.accept = type.extensions.map((one) => `.${one}`).join(",");
  input.hidden = true;
  document.body.append(input);
  return new Promise((resolve) => {
    input.onchange = input.oncancel = () => {
      input.remove();
      resolve(input.files?.[0]);
    };
    input.click();
  });
}

customElements.define("submission-page", SubmissionPage);
