// A submission with its documents, kept up to date while a page shows it.

import { get, Watch } from "./api.js";
import { isFinal } from "./words.js";

/** @import {DocumentSummary, SubmissionDetail} from "./types.d.ts" */

export class SubmissionFeed {
  /** @type {SubmissionDetail | undefined} */
  detail;
  /** The documents of all pages that were loaded, oldest first. @type {DocumentSummary[]} */
  documents = [];
  /** Where the next page of documents begins, if there is one. @type {string | undefined} */
  cursor;
  /** Why the last request failed, until one succeeds. @type {unknown} */
  problem;
  #pages = 1;

  /** @param {string} submissionId @param {AbortSignal} signal @param {() => void} onUpdate */
  constructor(submissionId, signal, onUpdate) {
    this.path = `submissions/${encodeURIComponent(submissionId)}`;
    this.signal = signal;
    this.onUpdate = onUpdate;
    this.watch = new Watch(
      this.path,
      signal,
      (detail) => {
        void this.#take(detail);
        return detail.pending.length === 0 && detail.documents.every(isFinal) && detail.submission.open === 0;
      },
      (problem) => {
        if (problem === this.problem) return;
        this.problem = problem;
        onUpdate();
      },
    );
  }

  /** Asks for the state now, for example after a change. */
  refresh() {
    this.watch.now();
  }

  async more() {
    this.#pages += 1;
    if (this.detail) await this.#take(this.detail);
  }

  /** @param {SubmissionDetail} detail */
  async #take(detail) {
    const documents = [...detail.documents];
    let { cursor } = detail;
    try {
      for (let page = 1; page < this.#pages && cursor; page += 1) {
        const next = await get(`${this.path}/documents`, { query: { cursor }, signal: this.signal });
        documents.push(...next.documents);
        cursor = next.cursor;
      }
    } catch (problem) {
      this.problem = problem;
    }
    if (this.signal.aborted) return;
    Object.assign(this, { detail, documents, cursor });
    this.onUpdate();
  }
}
