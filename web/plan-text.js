// The text of a document with the findings of the proofreading: marked in place, and listed beside it.

import { announce, html, icon, nothing, View } from "./view.js";
import { plural } from "./words.js";

/** @import {Finding, Severity} from "./types.d.ts" */

/** @type {Record<Severity, [string, string, string]>} name, name of many, icon */
const SEVERITIES = {
  error: ["mistake", "mistakes", "alert"],
  warning: ["probable mistake", "probable mistakes", "info"],
  info: ["suggestion", "suggestions", "read"],
};
const EXCERPT_LENGTH = 80;

/** `text` and `findings` are set once, before the element is put into the page. */
class PlanText extends View {
  text = "";
  /** @type {Finding[]} */
  findings = [];
  /** Start and end of each finding in UTF-16 units of `text`. @type {[number, number][]} */
  #places = [];
  /** @type {(Range | undefined)[]} */
  #ranges = [];
  #current = -1;

  connectedCallback() {
    super.connectedCallback();
    this.#places = places(this.text, this.findings);
    this.updateNow();
    this.#fill();
    this.#mark();
  }

  disconnectedCallback() {
    super.disconnectedCallback();
    for (const name of ["finding-error", "finding-warning", "finding-info", "finding-current"]) CSS.highlights?.delete(name);
  }

  /** Puts the text in, one paragraph for each line, and finds the ranges of the findings in it. */
  #fill() {
    const sheet = /** @type {HTMLElement} */ (this.querySelector(".sheet"));
    /** @type {{start: number, node: Text}[]} */
    const lines = [];
    let start = 0;
    const paragraphs = this.text.split("\n").map((line) => {
      const paragraph = document.createElement("p");
      const node = document.createTextNode(line);
      paragraph.append(node);
      lines.push({ start, node });
      start += line.length + 1;
      return paragraph;
    });
    sheet.replaceChildren(...paragraphs);
    const point = (/** @type {number} */ offset) => {
      let [low, high] = [0, lines.length];
      while (low < high) {
        const middle = (low + high) >> 1;
        if (lines[middle].start <= offset) low = middle + 1;
        else high = middle;
      }
      const { start: first, node } = lines[low - 1];
      return /** @type {[Text, number]} */ ([node, Math.min(offset - first, node.length)]);
    };
    this.#ranges = this.#places.map(([from, to]) => {
      const range = new Range();
      range.setStart(...point(from));
      range.setEnd(...point(to));
      return range;
    });
  }

  #mark() {
    if (!CSS.highlights) return;
    for (const severity of /** @type {Severity[]} */ (Object.keys(SEVERITIES))) {
      const ranges = this.#ranges.filter((range, index) => range && this.findings[index].severity === severity);
      CSS.highlights.set(`finding-${severity}`, new Highlight(.../** @type {Range[]} */ (ranges)));
    }
    const current = this.#ranges[this.#current];
    const highlight = new Highlight(...(current ? [current] : []));
    highlight.priority = 1;
    CSS.highlights.set("finding-current", highlight);
  }

  /** Goes to the next finding, or with -1 to the one before. @param {number} count */
  step(count) {
    const { length } = this.findings;
    if (!length) return;
    this.#show(this.#current < 0 ? (count > 0 ? 0 : length - 1) : (this.#current + count + length) % length);
    const { message, suggestion } = this.findings[this.#current];
    announce(`Finding ${this.#current + 1} of ${length}: ${this.#excerpt(this.#current)}. ${message}${suggestion ? ` Suggestion: ${suggestion}` : ""}`);
  }

  /** @param {number} index */
  #show(index) {
    this.#current = index;
    this.#mark();
    this.updateNow();
    const behavior = matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth";
    const sheet = /** @type {HTMLElement} */ (this.querySelector(".sheet"));
    const box = this.#ranges[index]?.getBoundingClientRect();
    const frame = sheet.getBoundingClientRect();
    if (box && sheet.scrollHeight > sheet.clientHeight + 1) {
      sheet.scrollBy({ top: box.top - frame.top - sheet.clientHeight / 3, behavior });
    } else if (box) {
      scrollBy({ top: box.top - innerHeight / 3, behavior });
    }
    const list = /** @type {HTMLElement} */ (this.querySelector(".findings ol"));
    const item = /** @type {HTMLElement} */ (list.children[index]);
    list.scrollTo({ top: item.offsetTop - list.offsetTop - 16, behavior });
  }

  /** A click into the text chooses the finding there. */
  #choose = (/** @type {MouseEvent} */ { clientX, clientY }) => {
    const index = this.#ranges.findIndex((range) =>
      [...(range?.getClientRects() ?? [])].some(({ left, right, top, bottom }) => clientX >= left && clientX <= right && clientY >= top && clientY <= bottom));
    if (index >= 0) this.#show(index);
  };

  #move = (/** @type {KeyboardEvent} */ event) => {
    const buttons = [...this.querySelectorAll(".findings li button")].map((button) => /** @type {HTMLElement} */ (button));
    const at = buttons.indexOf(/** @type {HTMLElement} */ (document.activeElement));
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: buttons.length - 1 }[event.key];
    if (to === undefined || at < 0) return;
    event.preventDefault();
    const index = Math.min(Math.max(0, to), buttons.length - 1);
    this.#show(index);
    buttons[index].focus({ preventScroll: true });
  };

  /** @param {number} index */
  #excerpt(index) {
    const text = this.text.slice(...this.#places[index]).replace(/\s+/g, " ").trim();
    return text.length > EXCERPT_LENGTH ? `${text.slice(0, EXCERPT_LENGTH)} …` : text;
  }

  template() {
    const { findings } = this;
    const severities = /** @type {Severity[]} */ (Object.keys(SEVERITIES));
    const stop = Math.max(0, this.#current);
    return html`
      <div class="sheet" tabindex="0" role="region" aria-label="Text" @click=${this.#choose}></div>
      <aside class="panel findings" aria-label="Findings">
        <div class="panel-head"><h2>Findings</h2>
          ${findings.length
            ? html`<span class="muted" role="status">${this.#current < 0 ? findings.length : `${this.#current + 1} of ${findings.length}`}</span>
              <span class="grow"></span>
              <button class="quiet square small" aria-label="Previous finding (P)" title="Previous finding (P)" @click=${() => this.step(-1)}>${icon("up")}</button>
              <button class="quiet square small" aria-label="Next finding (N)" title="Next finding (N)" @click=${() => this.step(1)}>${icon("down")}</button>`
            : nothing}</div>
        ${findings.length
          ? html`<p class="legend">${severities.map((severity) => {
              const count = findings.filter((finding) => finding.severity === severity).length;
              const [one, many, name] = SEVERITIES[severity];
              return count ? html`<span class=${severity}>${icon(name)}${plural(count, one, many)}</span>` : nothing;
            })}</p>`
          : html`<p class="good-text pad">${icon("check")}<span>The proofreading found nothing.</span></p>`}
        <ol @keydown=${this.#move}>${findings.map(({ severity, message, suggestion }, index) => html`<li>
          <button class=${severity} tabindex=${index === stop ? "0" : "-1"} aria-current=${index === this.#current ? "true" : nothing} @click=${() => this.#show(index)}>
            ${icon(SEVERITIES[severity][2])}<span><span class="hidden">${SEVERITIES[severity][0]}: </span><q>${this.#excerpt(index)}</q>
            <span class="message">${message}</span>
            ${suggestion ? html`<span class="suggestion"><span class="muted">Suggestion</span> <ins>${suggestion}</ins></span>` : nothing}</span></button></li>`)}</ol>
      </aside>`;
  }
}

/**
 * The findings' ranges count Unicode scalar values; a string's offsets count UTF-16 units.
 * @param {string} text @param {Finding[]} findings @returns {[number, number][]}
 */
function places(text, findings) {
  const wanted = new Set(findings.flatMap(({ range }) => [range.start, range.end]));
  /** @type {Map<number, number>} */
  const units = new Map();
  let [scalar, unit] = [0, 0];
  for (const character of text) {
    if (wanted.has(scalar)) units.set(scalar, unit);
    scalar += 1;
    unit += character.length;
  }
  const offset = (/** @type {number} */ at) => units.get(at) ?? text.length;
  return findings.map(({ range }) => [offset(range.start), offset(range.end)]);
}

customElements.define("plan-text", PlanText);
