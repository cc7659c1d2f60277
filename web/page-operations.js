// The operators' page: the flow at a glance, the queues, the limits, and every failure with what to do.

import "./operators-style.js";
import { get, post, Watch } from "./api.js";
import { ask } from "./dialog.js";
import { announce, badge, emptyState, failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { age, duration, moment, plural, visibleName } from "./words.js";

/** @import {Failure, Operations} from "./types.d.ts" */

/** How many documents are in each stage of the workflow, as the queues and the limiter count them. @param {Operations} state @returns {[string, number][]} */
function stages({ queues, limiter }) {
  const queued = (/** @type {string} */ name) =>
    queues.filter((queue) => queue.name === name).reduce((sum, { waiting, inFlight }) => sum + waiting + inFlight, 0);
  return [
    ["Arriving", queued("receive-upload")],
    ["Waiting for a permit", limiter.waiting],
    ["Being sent", queued("transfer-document")],
    ["At the third party", limiter.leases],
    ["Becoming a record", queued("normalize-document")],
  ];
}

/** Why the circuit breaker opened. @type {Record<string, string>} */
const CAUSES = { unavailable: "The third party does not answer or answers with errors", unauthorized: "The third party refuses the credentials" };

class OperationsPage extends View {
  /** @type {Operations | undefined} */
  #state;
  /** @type {unknown} */
  #problem;
  #readAt = "";
  /** @type {Failure[] | undefined} */
  #failures;
  /** @type {string | undefined} */
  #cursor;
  /** Counts the requests for failures. Only the answer to the last one is shown. */
  #turn = 0;
  /** @type {unknown} */
  #failuresProblem;
  /** The documents that were redriven here. @type {Set<string>} */
  #redriven = new Set();
  /** @type {Watch | undefined} */
  #watch;

  connectedCallback() {
    super.connectedCallback();
    this.#watch = new Watch("operations", this.signal,
      (state) => {
        this.#state = state;
        this.#readAt = new Date().toLocaleTimeString("en-GB");
        this.update();
        return false;
      },
      (problem) => {
        this.#problem = problem;
        this.update();
      });
    void this.#loadFailures();
  }

  #loadFailures = async () => {
    this.#failuresProblem = undefined;
    const turn = (this.#turn += 1);
    try {
      const page = await get("operations/failures", { query: { cursor: this.#cursor }, signal: this.signal });
      // A refresh has begun the list anew meanwhile.
      if (turn !== this.#turn) return;
      this.#failures = [...(this.#failures ?? []), ...page.failures];
      this.#cursor = page.cursor;
    } catch (problem) {
      this.#failuresProblem = problem;
    }
    this.update();
  };

  #refresh = () => {
    this.#watch?.now();
    this.#failures = this.#cursor = undefined;
    void this.#loadFailures();
  };

  /** @param {Failure} failed */
  async #redrive({ submissionId, documentId, fileName }) {
    const answer = await ask({
      title: "Start this document again?",
      body: html`<p><strong>${visibleName(fileName)}</strong> goes through the workflow again. A result that the third party has already sent is used.</p>
        <p>“Process from scratch” discards an earlier result and lets the third party process the file once more.</p>`,
      actions: [{ value: "", label: "Cancel" }, { value: "anew", label: "Process from scratch" }, { value: "redrive", label: "Start again", style: "primary" }],
    });
    if (!answer) return;
    try {
      await post(`submissions/${submissionId}/documents/${documentId}/redrive`, { anew: answer === "anew" });
      this.#redriven.add(documentId);
      announce("The document was started again.");
      this.#watch?.now();
    } catch (problem) {
      this.#failuresProblem = problem;
    }
    this.update();
  }

  template() {
    const state = this.#state;
    return html`
      <header class="page-head"><div class="grow"><h1 tabindex="-1">Operations</h1>
        <p class="muted">${this.#readAt ? `As of ${this.#readAt}. Updates by itself.` : "The flow at a glance."}</p></div>
        <button @click=${this.#refresh}>${icon("repeat")}Refresh</button></header>
      ${this.#problem ? failure(this.#problem, () => this.#watch?.now()) : nothing}
      ${state ? this.#overview(state) : this.#problem ? nothing : loading("Loading the state of the flow")}
      <section class="stack"><h2>Failures</h2>
        ${this.#failuresProblem ? failure(this.#failuresProblem, this.#failures ? undefined : this.#loadFailures) : nothing}
        ${!this.#failures ? (this.#failuresProblem ? nothing : loading("Loading the failures")) : this.#failures.length
          ? html`<ul class="list">${this.#failures.map((failed) => this.#failureCard(failed))}</ul>`
          : emptyState("check", "Nothing has failed", "Documents that fail are listed here, with the reason and what to do.")}
        ${this.#cursor ? html`<p class="centre"><button @click=${this.#loadFailures}>${icon("down")}Show more</button></p>` : nothing}
      </section>`;
  }

  /** @param {Operations} state */
  #overview(state) {
    const { submissions, queues, limiter } = state;
    const dead = queues.reduce((sum, { deadLetters }) => sum + deadLetters, 0);
    const waiting = queues.reduce((sum, queue) => sum + queue.waiting, 0);
    const figure = (/** @type {string} */ label, /** @type {unknown} */ value, /** @type {unknown} */ note, tone = "") =>
      html`<div class="card figure ${tone}"><dt>${label}</dt><dd>${value}</dd><dd class="muted">${note}</dd></div>`;
    const { inProgress, needsAttention, oldestInProgressAt } = submissions;
    return html`
      ${limiter.breakerOpen ? notice("bad", html`<strong>The circuit breaker is open.</strong> ${CAUSES[limiter.breakerCause ?? ""] ?? "The third party fails"}, so Lectern sends
        no documents except one trial at a time, until a trial succeeds.${limiter.trialAt ? ` The next trial may start at ${new Date(limiter.trialAt).toLocaleTimeString("en-GB")}.` : ""}`) : nothing}
      ${limiter.stalledForS ? notice("bad", html`<strong>Admission has stalled for ${duration(limiter.stalledForS)}.</strong> Documents wait although the limits allow more.`) : nothing}
      ${dead ? notice("bad", html`<strong>${plural(dead, "message")} in dead-letter queues.</strong> <code>lectern dlq list</code> shows them, and <code>lectern dlq redrive</code> sends them again.`) : nothing}
      <dl class="figures">
        ${figure("Lessons in progress", inProgress, oldestInProgressAt ? `the oldest for ${age(oldestInProgressAt)}` : "none is waiting")}
        ${figure("Lessons that need attention", needsAttention, "with a rejected or failed file", needsAttention ? "warn" : "")}
        ${figure("Messages waiting", waiting, "in all queues")}
        ${figure("Dead letters", dead, dead ? "somebody has to act" : "nothing is lost", dead ? "bad" : "good")}
      </dl>
      <section class="stack"><h2>Documents by stage</h2><ol class="flow">${stages(state).map(([stage, count]) => html`<li><span class="count">${count.toLocaleString("en-GB")}</span>${stage}</li>`)}</ol></section>
      <div class="halves">
        <section class="card"><h2>Queues</h2><div class="table" tabindex="0" role="region" aria-label="Queues"><table>
          <thead><tr><th scope="col">Queue</th><th scope="col">Waiting</th><th scope="col">In flight</th><th scope="col">Dead letters</th></tr></thead>
          <tbody>${queues.map((queue) => html`<tr><th scope="row">${queue.name}</th><td>${queue.waiting}</td><td>${queue.inFlight}</td>
            <td>${queue.deadLetters ? badge("bad", queue.deadLetters) : 0}</td></tr>`)}</tbody></table></div></section>
        <section class="card"><h2>Limits of the third party</h2>
          <label class="gauge"><span>Jobs in flight <strong>${limiter.leases} of ${limiter.maxInFlight}</strong></span>
            <meter min="0" max=${limiter.maxInFlight || 1} .value=${limiter.leases}>${limiter.leases}</meter></label>
          <dl class="facts">
            <div><dt>Circuit breaker</dt><dd>${limiter.breakerOpen ? badge("bad", "Open") : badge("good", "Closed")}</dd></div>
            <div><dt>Rate</dt><dd>${limiter.requestsPerSecond} a second, burst ${limiter.burst}</dd></div>
            <div><dt>Slowed down</dt><dd>${limiter.slowdown > 1 ? `${limiter.slowdown} times` : "no"}</dd></div>
            <div><dt>Waiting for a permit</dt><dd>${plural(limiter.waiting, "document")}</dd></div>
          </dl></section>
      </div>`;
  }

  /** @param {Failure} failed */
  #failureCard(failed) {
    const { submissionId, documentId, fileName, title, kind, failedAt, reason, why, todo } = failed;
    return html`<li class="card stack"><div class="row"><span class="medallion bad">${icon(kind ?? "document")}</span>
        <div class="grow"><strong class="name">${visibleName(fileName)}</strong>
          <span class="muted meta"><span>${title || submissionId}</span>${failedAt ? html`<span>${moment(failedAt)}</span>` : nothing}${reason ? html`<span><code>${reason.code}</code></span>` : nothing}</span></div>
        ${this.#redriven.has(documentId) ? badge("busy", "Started again") : html`<button aria-label="Start again: ${visibleName(fileName)}" @click=${() => this.#redrive(failed)}>${icon("repeat")}Start again</button>`}</div>
      <dl class="reasons">${reason ? html`<dt>The teacher reads</dt><dd>${reason.message}</dd>` : nothing}<dt>Why</dt><dd>${why}</dd>
        ${todo.length ? html`<dt>Do</dt><dd><ul>${todo.map((one) => html`<li>${one}</li>`)}</ul></dd>` : nothing}
        <dt>Document</dt><dd><code>${documentId}</code></dd></dl></li>`;
  }
}

customElements.define("operations-page", OperationsPage);
