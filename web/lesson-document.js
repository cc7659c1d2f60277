// One document as an evaluator reads it: the recording with its transcript, the text with its findings, or the picture.

import { get } from "./api.js";
import { announce, badge, failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { documentState, duration, KIND_NAMES, size, visibleName } from "./words.js";

/** @import {DocumentSummary, FileLink, LessonRecord} from "./types.d.ts" */

/** A file that came this much later than the first one of its submission is shown as late. */
const LATE_S = 3600;

/** `submissionId` is set once; `show` gets the document's newest state. */
class LessonDocument extends View {
  submissionId = "";
  /** When the submission began, RFC 3339. */
  begun = "";
  /** @type {DocumentSummary | undefined} */
  #document;
  /** @type {LessonRecord | undefined} */
  #record;
  /** The version of the document that the record belongs to. */
  #recordOf = "";
  /** @type {unknown} */
  #error;
  #loading = Promise.resolve();
  /** @type {any} */
  #player;
  #hasOriginal = false;
  /** @type {any} */
  #text;
  /** @type {HTMLElement | undefined} */
  #picture;
  /** Shows how far a file is; loaded for a file that is not ready. @type {((document: DocumentSummary) => unknown) | undefined} */
  #progress;

  connectedCallback() {
    super.connectedCallback();
    this.#load();
  }

  /** @param {DocumentSummary} document */
  show(document) {
    this.#document = document;
    if (this.isConnected) this.#load();
    this.update();
  }

  get #path() {
    return `submissions/${this.submissionId}/documents/${this.#document?.documentId}`;
  }

  /** Loads what is missing, after a load that is under way. */
  #load = () => {
    this.#loading = this.#loading.then(() => this.#loadMissing());
  };

  /** Loads the record once the document is ready, and again if it has become ready anew; and the original. */
  async #loadMissing() {
    const shown = this.#document;
    if (!shown) return;
    const version = shown.times.Ready ?? "";
    this.#error = undefined;
    try {
      if (shown.state !== "Ready") this.#progress = (await import("./document-progress.js")).documentProgress;
      if (shown.state === "Ready" && version !== this.#recordOf) {
        this.#recordOf = version;
        /** @type {LessonRecord} */
        const record = await get(`${this.#path}/record`, { signal: this.signal });
        const { text, findings } = record;
        if (typeof text === "string") {
          await import("./plan-text.js");
          this.#text = Object.assign(document.createElement("plan-text"), { text, findings });
        }
        if (record.transcript) await import("./transcript.js");
        this.#record = record;
        const { segments = [], language } = record.transcript ?? {};
        const player = this.#player;
        if (player) {
          player.captions = { segments, language: language ?? "" };
          if (segments.length) announce("The captions and the transcript are here.");
        }
      }
      if (!this.#hasOriginal && shown.state !== "Rejected") {
        const original = await this.#original();
        this.#hasOriginal = Boolean(original);
        if (original?.inlineUrl && shown.kind === "picture") {
          await import("./picture.js");
          const label = `Handed in as ${visibleName(shown.fileName)}`;
          this.#picture = Object.assign(document.createElement("lesson-picture"), { label, getUrl: () => this.#inlineUrl() });
        } else if (original?.inlineUrl && (shown.kind === "video" || shown.kind === "audio")) {
          await import("./player.js");
          this.#makePlayer(shown);
        }
      }
    } catch (error) {
      if (this.signal.aborted) return;
      this.#recordOf = "";
      this.#error = error;
    }
    this.update();
  }

  /** @param {DocumentSummary} document */
  #makePlayer({ documentId, kind, fileName }) {
    const player = /** @type {any} */ (document.createElement("lesson-player"));
    Object.assign(player, { documentId, kind, label: visibleName(fileName), getUrl: () => this.#inlineUrl() });
    const { segments = [], language } = this.#record?.transcript ?? {};
    if (segments.length) player.captions = { segments, language: language ?? "" };
    player.addEventListener("time", (/** @type {CustomEvent<number>} */ { detail }) => {
      const transcript = /** @type {any} */ (this.querySelector("lesson-transcript"));
      if (transcript) transcript.time = detail;
    });
    this.#player = player;
  }

  /** The files with URLs that are good for some minutes. @returns {Promise<FileLink[]>} */
  async #files() {
    return (await get(`${this.#path}/files`, { signal: this.signal })).files;
  }

  async #original() {
    return (await this.#files()).find(({ kind }) => kind === "upload");
  }

  async #inlineUrl() {
    return (await this.#original())?.inlineUrl;
  }

  /** @param {(file: FileLink) => boolean} isWanted @param {boolean} [inTab] whether to show it instead of saving it */
  async #open(isWanted, inTab = false) {
    // The tab opens at the click: a browser blocks one that opens after an answer has come.
    const tab = inTab ? open("", "_blank") : undefined;
    try {
      const file = (await this.#files()).find(isWanted);
      if (!file) throw new Error("This file is not there any more.");
      if (tab && file.inlineUrl) {
        tab.opener = null;
        tab.location.replace(file.inlineUrl);
        return;
      }
      const link = document.createElement("a");
      link.href = file.url;
      link.download = "";
      link.click();
    } catch (error) {
      tab?.close();
      this.#error = error;
      this.update();
    }
  }

  /** Does what a key stands for in this document; returns whether it stands for something. @param {string} key */
  press(key) {
    const player = this.#player;
    const transcript = /** @type {any} */ (this.querySelector("lesson-transcript"));
    const text = this.#text;
    /** @type {Record<string, (() => void) | undefined>} */
    const actions = {
      ...(player && {
        " ": () => player.toggle(),
        k: () => player.toggle(),
        j: () => player.skip(-10),
        l: () => player.skip(10),
        ArrowLeft: () => player.skip(-5),
        ArrowRight: () => player.skip(5),
        "<": () => player.changeSpeed(-1),
        ">": () => player.changeSpeed(1),
        c: () => player.toggleCaptions(),
        f: () => player.toggleFullscreen(),
        m: () => player.toggleMuted(),
        g: () => player.focusTime(),
      }),
      ...(transcript && { "/": () => transcript.focusSearch() }),
      ...(text && { n: () => text.step(1), p: () => text.step(-1), j: () => text.step(1), k: () => text.step(-1) }),
    };
    actions[key.length === 1 ? key.toLowerCase() : key]?.();
    return Object.hasOwn(actions, key.length === 1 ? key.toLowerCase() : key);
  }

  template() {
    const shown = this.#document;
    if (!shown) return nothing;
    const record = this.#record;
    const [tone, words] = documentState(shown);
    const lateS = shown.times.Received ? (Date.parse(shown.times.Received) - Date.parse(this.begun)) / 1000 : 0;
    return html`
      <header class="document-head">
        <div class="grow"><h2>${visibleName(shown.fileName)}</h2>
          <p class="muted meta">${shown.kind ? html`<span>${KIND_NAMES[shown.kind]}</span>` : nothing}<span>${size(shown.sizeBytes)}</span>
            ${lateS > LATE_S ? html`<span>Arrived ${duration(lateS)} after the submission</span>` : nothing}</p></div>
        ${shown.state === "Ready" ? nothing : badge(tone, words)}
        ${this.#hasOriginal
          ? html`${shown.mediaType === "application/pdf" ? html`<button @click=${() => this.#open(({ kind }) => kind === "upload", true)}>${icon("read")}View</button>` : nothing}
            <button @click=${() => this.#open(({ kind }) => kind === "upload")}>${icon("download")}Original</button>` : nothing}
      </header>
      ${this.#error ? failure(this.#error, this.#load) : nothing}
      ${shown.state === "Ready" ? nothing : this.#progress?.(shown)}
      ${this.#player
        ? html`<div class="watch ${shown.kind}">${this.#player}
            <section class="panel">${record?.transcript?.segments.length
              ? html`<lesson-transcript .segments=${record.transcript.segments} @seek=${(/** @type {CustomEvent<number>} */ { detail }) => this.#player.seek(detail)}></lesson-transcript>`
              : html`<div class="panel-head"><h2>Transcript</h2></div><p class="pad muted">${record ? "Nothing was said in this recording." : "It appears here by itself as soon as it is ready. You can already watch."}</p>`}</section></div>
          ${record?.transcript?.droppedCues ? notice("warn", "Some lines of the captions could not be read. They are missing here.") : nothing}`
        : nothing}
      ${this.#picture ?? nothing}
      ${this.#text ?? nothing}
      ${shown.state === "Ready" && !record && !this.#error ? loading("Loading the file") : nothing}
      ${record && !this.#text && !this.#player && !this.#picture
        ? notice("plain", "There is nothing to read here in the browser. Download the original instead.") : nothing}
      ${record?.attachments.length ? this.#attachments(record) : nothing}`;
  }

  /** @param {LessonRecord} record */
  #attachments({ attachments }) {
    return html`<section class="stack"><h2>More files of this document</h2>
      <ul class="list">${attachments.map(({ index, fileName, mediaType, sizeBytes }) => html`<li class="card row slim">
        <span class="medallion">${icon("document")}</span>
        <div class="grow"><strong class="name">${visibleName(fileName)}</strong><span class="muted meta"><span>${mediaType}</span><span>${size(sizeBytes)}</span></span></div>
        <button class="quiet" aria-label="Download ${visibleName(fileName)}" @click=${() => this.#open((file) => file.kind === "returned" && file.index === index)}>${icon("download")}Download</button></li>`)}</ul></section>`;
  }
}

customElements.define("lesson-document", LessonDocument);
