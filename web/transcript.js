// The transcript beside the player: search, jump to a line, and the current line that follows.

import { announce, html, icon, nothing, View } from "./view.js";
import { clock } from "./words.js";

/** @import {Segment} from "./types.d.ts" */

/** Dispatches `seek` with seconds as `detail`. One Tab stop; arrows, Home and End move inside. */
class LessonTranscript extends View {
  /** @type {Segment[]} */
  #segments = [];
  #current = -1;
  #isFollowing = true;
  #query = "";
  /** The lines with the words that are searched, and which of them is shown. @type {number[]} */
  #matches = [];
  #match = 0;

  /** @param {Segment[]} segments */
  set segments(segments) {
    if (segments === this.#segments) return;
    this.#lines[this.#current]?.removeAttribute("aria-current");
    this.#segments = segments;
    this.#current = -1;
    this.update();
    if (!this.#query) return;
    // The new lines must be there before words in them are marked.
    this.updateNow();
    this.#find();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    CSS.highlights?.delete("search");
  }

  /** Marks the line that is spoken. @param {number} seconds */
  set time(seconds) {
    const index = lastStarted(this.#segments, seconds * 1000);
    if (index === this.#current) return;
    const lines = this.#lines;
    lines[this.#current]?.removeAttribute("aria-current");
    this.#current = index;
    const line = lines[index];
    if (!line) return;
    line.setAttribute("aria-current", "true");
    if (!this.contains(document.activeElement)) this.#makeTabStop(line);
    if (!this.#isFollowing) return;
    this.#scrollTo(line);
    announce(this.#segments[index].text);
  }

  /** @returns {HTMLElement[]} */
  get #lines() {
    return [...this.querySelectorAll("ol button")].map((line) => /** @type {HTMLElement} */ (line));
  }

  focusSearch() {
    /** @type {HTMLInputElement | null} */ (this.querySelector("input[type=search]"))?.select();
  }

  /** @param {HTMLElement} line */
  #makeTabStop(line) {
    for (const other of this.querySelectorAll("ol button[tabindex='0']")) other.setAttribute("tabindex", "-1");
    line.setAttribute("tabindex", "0");
  }

  /** Scrolls the list only, never the page. @param {HTMLElement} line */
  #scrollTo(line) {
    const list = /** @type {HTMLElement} */ (this.querySelector("ol"));
    const top = line.offsetTop - list.offsetTop - list.clientHeight / 3;
    list.scrollTo({ top, behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  }

  #move = (/** @type {KeyboardEvent} */ event) => {
    const lines = this.#lines;
    const at = lines.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: lines.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const line = lines[Math.min(Math.max(0, to), lines.length - 1)];
    this.#makeTabStop(line);
    line.focus();
  };

  #search = (/** @type {any} */ event) => {
    this.#query = event.target.value;
    this.#find();
    this.#showMatch(0);
  };

  /** Finds the words that are searched, in upper or lower case, and marks them. */
  #find() {
    const words = this.#query.trim().replace(/[\\^$.*+?()[\]{}|]/g, "\\$&");
    const pattern = new RegExp(words, "giu");
    this.#matches = words ? this.#segments.flatMap(({ text }, index) => (text.search(pattern) < 0 ? [] : [index])) : [];
    this.#match = 0;
    this.update();
    if (!CSS.highlights) return;
    const lines = this.#lines;
    const ranges = this.#matches.flatMap((index) => {
      const node = [...(lines[index].querySelector(".text")?.childNodes ?? [])].find(({ nodeType }) => nodeType === Node.TEXT_NODE);
      return node ? rangesOf(node, pattern) : [];
    });
    CSS.highlights.set("search", new Highlight(...ranges));
  }

  /** @param {number} step */
  #showMatch(step) {
    const count = this.#matches.length;
    if (count) {
      this.#match = (this.#match + step + count) % count;
      const line = this.#lines[this.#matches[this.#match]];
      this.#makeTabStop(line);
      this.#scrollTo(line);
    }
    this.update();
  }

  #searchKey = (/** @type {KeyboardEvent} */ event) => {
    if (event.key === "Enter" && this.#matches.length) {
      event.preventDefault();
      this.#showMatch(event.shiftKey ? -1 : 1);
    } else if (event.key === "ArrowDown") {
      event.preventDefault();
      /** @type {HTMLElement | null} */ (this.querySelector("ol button[tabindex='0']"))?.focus();
    }
  };

  template() {
    const segments = this.#segments;
    const count = this.#matches.length;
    return html`
      <div class="panel-head"><h2>Transcript</h2>
        <button class="quiet small" aria-pressed=${this.#isFollowing} title="Scroll along with the recording and read the lines to screen readers"
          @click=${() => {
            this.#isFollowing = !this.#isFollowing;
            this.update();
          }}>${icon(this.#isFollowing ? "check" : "close")}Follow</button></div>
      <div class="search" role="search">${icon("search")}<input type="search" placeholder="Search (press /)" aria-label="Search in the transcript"
          .value=${this.#query} @input=${this.#search} @keydown=${this.#searchKey}>
        <span role="status">${this.#query.trim() ? (count ? `${this.#match + 1} of ${count}` : "none") : nothing}</span>
        ${count > 1
          ? html`<button class="quiet square small" aria-label="Previous match" @click=${() => this.#showMatch(-1)}>${icon("up")}</button>
            <button class="quiet square small" aria-label="Next match" @click=${() => this.#showMatch(1)}>${icon("down")}</button>` : nothing}</div>
      <ol @keydown=${this.#move}>${segments.map(({ startMs, text, speaker }, index) => html`<li>
        <button tabindex=${index === 0 ? "0" : "-1"} @click=${() => this.dispatchEvent(new CustomEvent("seek", { detail: startMs / 1000 }))}>
          <span class="at">${clock(startMs / 1000)}</span><span class="words">${speaker && speaker !== segments[index - 1]?.speaker ? html`<span class="speaker">${speaker}</span>` : nothing}<span class="text">${text}</span></span>
        </button></li>`)}</ol>`;
  }
}

/** The index of the last segment that has started; -1 before the first. @param {Segment[]} segments @param {number} ms */
function lastStarted(segments, ms) {
  let [low, high] = [0, segments.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (segments[middle].startMs <= ms) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}

/** Every match in a text node. @param {Node} node @param {RegExp} pattern */
function rangesOf(node, pattern) {
  return [...(node.nodeValue ?? "").matchAll(pattern)].map(({ 0: words, index }) => {
    const range = new Range();
    range.setStart(node, index);
    range.setEnd(node, index + words.length);
    return range;
  });
}

customElements.define("lesson-transcript", LessonTranscript);
