// The operators' page of the subscribers of events: what waits for each, what fails, and the actions.

import "./operators-style.js";
import { call, get, post } from "./api.js";
import { ask } from "./dialog.js";
import { announce, badge, emptyState, failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { age, duration, moment, plural } from "./words.js";

/** @import {AddedSubscriber, EventType, NewSecret, ReplayedPage, Subscriber, SubscriberTrial} from "./types.d.ts" */
/** @import {Tone} from "./view.js" */

/** The types that a subscriber may choose. @type {EventType[]} */
const EVENT_TYPES = [
  "submission.created", "submission.completed", "submission.erased", "document.received", "document.ready", "document.rejected",
  "document.failed", "document.redriven", "document.superseded", "document.withdrawn", "subscriber.disabled",
];

/** @type {Record<Subscriber["status"], [Tone, string]>} */
const STATES = { active: ["good", "Active"], paused: ["plain", "Paused"], disabled: ["bad", "Disabled"] };

/** Why Lectern has stopped the deliveries. @type {Record<string, string>} */
const REASONS = {
  gone: "The endpoint answered 410: it wants no more events.",
  unreachable: "No delivery had succeeded for three days.",
};

/** @param {string} time RFC 3339 */
function until(time) {
  const seconds = (Date.parse(time) - Date.now()) / 1000;
  return seconds > 0 ? `in ${duration(seconds)}` : "now";
}

/** @param {Subscriber} subscriber @returns {string[]} */
const settings = ({ eventTypes, kinds, format, ordered, maxBatch, maxBatchWaitSeconds, gzip, requestsPerSecond, maxInFlight, timeoutSeconds, signature }) => [
  eventTypes.length ? eventTypes.join(", ") : "all types of events",
  kinds.length ? `only of ${kinds.join(", ")} files` : "",
  format === "thin" ? "thin events" : "",
  ordered ? "in order within a lesson" : "in any order",
  maxBatch > 1 ? `up to ${maxBatch} events a request` : "1 event a request",
  maxBatchWaitSeconds ? `a batch waits up to ${duration(maxBatchWaitSeconds)}` : "",
  `${plural(requestsPerSecond, "request")} a second`,
  `${maxInFlight} in flight at most`,
  `timeout ${duration(timeoutSeconds)}`,
  gzip ? "gzip" : "",
  signature === "ed25519" ? "signed with Ed25519" : "signed with HMAC",
].filter(Boolean);

class SubscribersPage extends View {
  /** @type {Subscriber[] | undefined} */
  #subscribers;
  /** @type {unknown} */
  #problem;
  #readAt = "";
  /** Counts the requests for the list. Only the answer to the last one is shown. */
  #turn = 0;
  /** What came of the last action, by subscriber. @type {Map<string, unknown>} */
  #notes = new Map();
  /** The subscribers with an action that is not finished. @type {Set<string>} */
  #busy = new Set();
  #isFormOpen = false;
  #isAdding = false;
  /** @type {unknown} */
  #formProblem;

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
  }

  #load = async () => {
    const turn = (this.#turn += 1);
    try {
      const { subscribers } = await get("subscribers", { signal: this.signal });
      if (turn !== this.#turn) return;
      this.#subscribers = subscribers;
      this.#readAt = new Date().toLocaleTimeString("en-GB");
      this.#problem = undefined;
    } catch (problem) {
      if (turn !== this.#turn) return;
      this.#problem = problem;
    }
    this.update();
  };

  #refresh = async () => {
    this.#notes.clear();
    await this.#load();
    if (!this.#problem) announce("The list is up to date.");
  };

  /** Renders, then moves the focus. @param {string} selector */
  #focus(selector) {
    this.updateNow();
    /** @type {HTMLElement | null} */ (this.querySelector(selector))?.focus();
  }

  #toggleForm = () => {
    this.#isFormOpen = !this.#isFormOpen;
    this.#formProblem = undefined;
    this.#focus(this.#isFormOpen ? "input" : "[aria-expanded]");
  };

  #add = async (/** @type {SubmitEvent} */ event) => {
    event.preventDefault();
    if (this.#isAdding) return;
    const fields = new FormData(/** @type {HTMLFormElement} */ (event.target));
    this.#isAdding = true;
    this.#formProblem = undefined;
    this.update();
    try {
      /** @type {AddedSubscriber} */
      const added = await post("subscribers", {
        subscriberId: fields.get("id"),
        url: fields.get("url"),
        eventTypes: fields.getAll("type"),
        ordered: fields.has("ordered"),
        maxBatch: Number(fields.get("batch")),
        requestsPerSecond: Number(fields.get("rate")),
      });
      const { subscriberId } = added.subscriber;
      this.#isFormOpen = false;
      this.#notes.delete(subscriberId);
      const isListed = this.#load();
      await showSecret(`${subscriberId} is added`, added, "The endpoint has answered the challenge, and gets events from now on.");
      await isListed;
      this.#focus(`#${CSS.escape(`subscriber-${subscriberId}`)}`);
    } catch (problem) {
      this.#formProblem = problem;
    }
    this.#isAdding = false;
    this.update();
  };

  /**
   * Runs one action of a subscriber at a time, and shows on its card what came of it.
   * @param {string} id @param {string} doing @param {() => Promise<string>} work returns what to say
   * @param {() => void} [again] goes on after a failure
   */
  async #act(id, doing, work, again) {
    if (this.#busy.has(id)) return;
    this.#busy.add(id);
    this.#note(id, badge("busy", doing));
    announce(doing);
    try {
      const done = await work();
      await this.#load();
      this.#note(id, done ? notice("good", done) : nothing);
      announce(done);
    } catch (problem) {
      this.#note(id, failure(problem, again));
    }
    this.#busy.delete(id);
  }

  /** @param {string} id @param {unknown} content */
  #note(id, content) {
    this.#notes.set(id, content);
    this.update();
  }

  /** @param {string} id */
  #pause = (id) => this.#act(id, "Pausing", async () => {
    await post(`subscribers/${id}/pause`);
    return "The deliveries are paused. Events wait for 30 days at most.";
  });

  /** @param {string} id @param {"position" | "now"} from */
  #resume = (id, from) => this.#act(id, "Resuming", async () => {
    const { events } = await post(`subscribers/${id}/resume`, { from });
    if (from === "now") return `The deliveries go on with new events. ${events === 1 ? "1 event was" : `${plural(events, "event")} were`} skipped.`;
    return `The deliveries go on. ${events ? `${plural(events, "event")} that waited ${events === 1 ? "is" : "are"} sent now.` : "Nothing has waited."}`;
  });

  /** @param {Subscriber} subscriber */
  async #askToResume({ subscriberId, deliveries: { waiting } }) {
    const answer = await ask({
      title: `Resume ${subscriberId}?`,
      body: html`<p>${waiting ? html`<strong>${plural(waiting, "event")}</strong> ${waiting === 1 ? "waits" : "wait"} for it, as of ${this.#readAt}.` : `Nothing waits for it, as of ${this.#readAt}.`}</p>
        <p>“Skip what waits” goes on with the events from now on. What is skipped is never sent, unless it is replayed.</p>`,
      actions: [{ value: "", label: "Cancel" }, { value: "now", label: "Skip what waits" }, { value: "position", label: "Deliver what waits", style: "primary" }],
    });
    if (answer === "now" || answer === "position") await this.#resume(subscriberId, answer);
  }

  /** @param {string} id */
  async #test(id) {
    /** @type {SubscriberTrial | undefined} */
    let trial;
    await this.#act(id, "Sending a test", async () => {
      trial = await post(`subscribers/${id}/test`);
      return "";
    });
    if (trial) await ask({ title: `Test of ${id}`, body: trialBody(trial), actions: [{ value: "", label: "Close" }] });
  }

  /** @param {string} id */
  async #replay(id) {
    let from = new Date(Date.now() - 7 * 86_400_000).toISOString().slice(0, 10);
    let to = "";
    const answer = await ask({
      title: `Replay events to ${id}?`,
      body: html`<p>The events of lessons that were handed in at this time are sent again, with the ids that they had before, after the events that wait.</p>
        <div class="columns">
          <label class="field"><span>From</span><input type="date" required autofocus .value=${from} @input=${(/** @type {any} */ event) => (from = event.target.value)}></label>
          <label class="field"><span>Before (optional)</span><input type="date" @input=${(/** @type {any} */ event) => (to = event.target.value)}></label>
        </div>
        <p class="muted">Days begin at midnight UTC. Keep this page open until the replay is done.</p>`,
      actions: [{ value: "", label: "Cancel" }, { value: "replay", label: "Replay", style: "primary" }],
    });
    if (!answer) return;
    let events = 0;
    /** @type {string | undefined} */
    let cursor;
    const run = () => this.#act(id, "Replaying", async () => {
      do {
        /** @type {ReplayedPage} */
        const page = await post(`subscribers/${id}/replay`, { from, to: to || undefined, cursor });
        events += page.events;
        cursor = page.cursor;
        this.#note(id, badge("busy", `Replaying, ${plural(events, "event")} so far`));
      } while (cursor);
      return `The replay is done: ${plural(events, "event")} ${events === 1 ? "goes" : "go"} to the subscriber again.`;
    }, run);
    await run();
  }

  /** @param {string} id */
  async #rotate(id) {
    const answer = await ask({
      title: `Make a new secret for ${id}?`,
      body: html`<p>Requests then carry signatures of both secrets for 24 hours. The endpoint needs the new one within this time.</p>
        <p>If the secret was changed in the last 24 hours already, the oldest one ends at once.</p>`,
      actions: [{ value: "", label: "Cancel" }, { value: "rotate", label: "Make a new secret", style: "primary" }],
    });
    if (!answer) return;
    /** @type {NewSecret | undefined} */
    let made;
    await this.#act(id, "Making a new secret", async () => {
      made = await post(`subscribers/${id}/rotate`);
      return "There is a new secret. The old one stays valid for 24 hours.";
    });
    if (made) await showSecret(`The new secret of ${id}`, made, "The old one stays valid for 24 hours.");
  }

  /** @param {Subscriber} subscriber */
  async #remove({ subscriberId: id, deliveries: { waiting } }) {
    const answer = await ask({
      title: `Remove ${id}?`,
      body: html`<p>Lectern forgets its settings, its secrets and what it has received. ${waiting ? html`<strong>${plural(waiting, "event")} that ${waiting === 1 ? "waits" : "wait"}</strong> will never be sent.` : "No event waits for it."}</p>`,
      actions: [{ value: "", label: "Keep it" }, { value: "remove", label: "Remove it", style: "danger" }],
    });
    if (!answer) return;
    await this.#act(id, "Removing", async () => {
      await call("DELETE", `subscribers/${id}`);
      this.#subscribers = this.#subscribers?.filter(({ subscriberId }) => subscriberId !== id);
      this.#focus("h1");
      return `${id} is removed.`;
    });
  }

  template() {
    const subscribers = this.#subscribers;
    return html`
      <header class="page-head"><div class="grow"><h1 tabindex="-1">Subscribers</h1>
        <p class="muted">Systems that are told what happens to lessons.${this.#readAt ? ` As of ${this.#readAt}.` : ""}</p></div>
        <div class="bar"><button @click=${this.#refresh}>${icon("repeat")}Refresh</button>
          <button class="primary" aria-expanded=${this.#isFormOpen} @click=${this.#toggleForm}>${icon("add")}Add a subscriber</button></div></header>
      ${this.#isFormOpen ? this.#form() : nothing}
      ${this.#problem ? failure(this.#problem, this.#load) : nothing}
      ${!subscribers ? (this.#problem ? nothing : loading("Loading the subscribers")) : subscribers.length
        ? html`<ul class="stack">${subscribers.map((subscriber) => this.#card(subscriber))}</ul>`
        : this.#isFormOpen ? nothing : emptyState("send", "No subscribers yet", "Add a system that is to hear when lessons are handed in, become readable or fail.")}`;
  }

  #form() {
    return html`<form class="card stack" @submit=${this.#add}><h2>Add a subscriber</h2>
      <div class="columns">
        <div class="field"><label for="id">Id</label>
          <input id="id" name="id" required maxlength="40" pattern="[a-z][a-z0-9\\-]*" autocomplete="off" autocapitalize="none" spellcheck="false" aria-describedby="id-help"
            title="Small letters, digits and hyphens, beginning with a letter">
          <small id="id-help" class="muted">Small letters, digits and hyphens, such as school-portal.</small></div>
        <div class="field"><label for="url">URL</label>
          <input id="url" name="url" type="url" required maxlength="2048" autocomplete="off" aria-describedby="url-help">
          <small id="url-help" class="muted">https, with a public address. The endpoint must run: it has to answer a challenge.</small></div>
      </div>
      <fieldset class="field" aria-describedby="type-help"><legend>Types of events</legend>
        <small id="type-help" class="muted">All types, if you choose none.</small>
        <div class="columns">${EVENT_TYPES.map((type) => html`<label class="check"><input type="checkbox" name="type" value=${type}>${type}</label>`)}</div></fieldset>
      <div class="columns">
        <div class="field"><label for="batch">Events in one request, at most</label><input id="batch" name="batch" type="number" required min="1" max="100" value="1"></div>
        <div class="field"><label for="rate">Requests per second, at most</label><input id="rate" name="rate" type="number" required min="0.1" max="100" step="0.1" value="10"></div>
      </div>
      <label class="check"><input type="checkbox" name="ordered" checked>In order within a lesson: an event that fails holds back the later events of its lesson.</label>
      ${this.#formProblem ? failure(this.#formProblem) : nothing}
      <div class="bar"><button class="primary">${icon("add")}Add</button>
        <button type="button" @click=${this.#toggleForm}>Cancel</button>${this.#isAdding ? badge("busy", "Asking the endpoint") : nothing}</div>
    </form>`;
  }

  /** @param {Subscriber} subscriber */
  #card(subscriber) {
    const { subscriberId: id, url, status, deliveries } = subscriber;
    const { waiting, oldestAt, retrying, retryingCount, blocked, deadLetters, inFlight, breakerOpen, failingSince } = deliveries;
    const isActive = status === "active";
    const action = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => void} */ run, tone = "") =>
      html`<button class="small ${tone}" aria-label="${label}: ${id}" @click=${run}>${icon(name)}${label}</button>`;
    const count = (/** @type {number} */ value, /** @type {string} */ label) => html`<li><span class="count">${value.toLocaleString("en-GB")}</span>${label}</li>`;
    return html`<li class="card stack"><div class="row"><span class="medallion ${status === "disabled" ? "bad" : ""}">${icon("send")}</span>
        <div class="grow"><h2 id="subscriber-${id}" class="name" tabindex="-1">${id}</h2><code class="muted">${url}</code></div>
        ${badge(...STATES[status])}</div>
      ${this.#state(subscriber)}
      <ul class="flow">
        ${count(waiting, oldestAt ? `Waiting, the oldest for ${age(oldestAt)}` : "Waiting")}
        ${count(inFlight, "Requests in flight")}
        ${count(retryingCount, "Retrying")}
        ${blocked ? count(blocked, `${blocked === 1 ? "Waits behind another event of its" : "Wait behind another event of their"} lesson`) : nothing}
        ${count(deadLetters, "Given up")}
      </ul>
      ${retrying.length ? html`<ul class="list" aria-label="Events for ${id} that are retried">${retrying.map(({ type, subject, attempts, status: last, nextAt }) => html`<li><strong>${type}</strong>
          <span class="muted meta"><span><code>${subject}</code></span><span>${plural(attempts, "attempt")}</span><span>${last ? `last answer ${last}` : "no answer"}</span>${
            isActive ? html`<span>next attempt ${until(nextAt)}</span>` : nothing}</span></li>`)}</ul>
        ${retryingCount > retrying.length ? html`<p class="muted">The oldest ${retrying.length} of ${retryingCount} are listed.</p>` : nothing}` : nothing}
      <p class="muted meta">${settings(subscriber).map((setting) => html`<span>${setting}</span>`)}</p>
      <div class="bar">
        ${isActive ? action("pause", "Pause", () => this.#pause(id)) : action("play", "Resume", () => this.#askToResume(subscriber))}
        ${isActive && (retryingCount || breakerOpen || failingSince) ? action("repeat", "Retry now", () => this.#resume(id, "position")) : nothing}
        ${action("send", "Send a test", () => this.#test(id))}
        ${action("clock", "Replay", () => this.#replay(id))}
        ${action("key", "New secret", () => this.#rotate(id))}
        ${action("trash", "Remove", () => this.#remove(subscriber), "danger")}
      </div>
      ${this.#notes.get(id) ?? nothing}</li>`;
  }

  /** What an operator has to know about a subscriber. @param {Subscriber} subscriber */
  #state({ status, disabledReason, disabledAt, deliveries: { breakerOpen, failingSince, deadLetters } }) {
    const since = failingSince ? `Every request has failed for ${age(failingSince)}` : "The last requests have failed";
    return html`
      ${status === "disabled" ? notice("bad", html`<strong>Lectern has stopped the deliveries${disabledAt ? ` on ${moment(disabledAt)}` : ""}.</strong>
        ${REASONS[disabledReason ?? ""] ?? ""} Events wait for 30 days at most. Send a test, then resume.`)
        : breakerOpen ? notice("bad", html`<strong>The circuit breaker is open.</strong> ${since}, so Lectern sends one request at a time as a trial, until one succeeds.`)
        : failingSince ? notice("warn", `${since}. Lectern repeats them.`) : nothing}
      ${deadLetters ? notice("warn", html`<strong>${plural(deadLetters, "event")} ${deadLetters === 1 ? "was" : "were"} given up</strong> after three days of failures. A replay sends them again.`) : nothing}`;
  }
}

/** Shows a secret, which no other answer of the API contains. @param {string} title @param {NewSecret} made @param {string} text */
function showSecret(title, { secret, publicKey }, text) {
  return ask({
    title,
    body: html`<p>${text}</p>
      <p><strong>${secret ? "Its secret, which is shown only now:" : "Its public key, which is shown only now:"}</strong></p>
      <p class="notice plain"><code class="secret">${secret ?? publicKey}</code></p>
      <p class="muted">Hand it over by a channel that keeps it secret. If it is lost, make a new one.</p>`,
    actions: [{ value: "", label: "I have stored it", style: "primary" }],
  });
}

/** @param {SubscriberTrial} trial */
function trialBody({ request, response, error }) {
  const headers = (/** @type {Record<string, string>} */ all) => Object.entries(all).map(([name, value]) => `${name}: ${value}`).join("\n");
  const isAccepted = response && response.status >= 200 && response.status < 300;
  return html`
    <p>${response ? badge(isAccepted ? "good" : "bad", `${isAccepted ? "Accepted" : "Not accepted"}: ${response.status}`) : badge("bad", "No answer")}</p>
    ${error ? html`<p>${error}</p>` : nothing}
    <h3>Request</h3><pre tabindex="0"><code>POST ${request.url}${"\n"}${headers(request.headers)}${"\n\n"}${request.body}</code></pre>
    ${response ? html`<h3>Answer</h3><pre tabindex="0"><code>${response.status}${"\n"}${headers(response.headers)}${response.body ? `\n\n${response.body}` : ""}</code></pre>` : nothing}`;
}

customElements.define("subscribers-page", SubscribersPage);
