// What is accepted, and what the check of a file says. Shown wherever a teacher chooses files.

import { context } from "./context.js";
import { html, icon, nothing } from "./view.js";
import { KIND_NAMES, size } from "./words.js";

/** @import {Kind} from "./types.d.ts" */
/** @import {Check} from "./file-check.js" */

/** The table of accepted files, for those who want to know before they choose. */
export function acceptedFiles() {
  const kinds = /** @type {Kind[]} */ (Object.keys(KIND_NAMES));
  return html`<details class="accepted"><summary>${icon("forward")}Which files are accepted?</summary>
    <dl>${kinds.map((kind) => {
      const extensions = context.config.types.filter((type) => type.accepted && type.kind === kind).flatMap((type) => type.extensions);
      return extensions.length ? html`<dt>${KIND_NAMES[kind]}</dt><dd>${extensions.map((one) => `.${one}`).join(", ")}</dd>` : nothing;
    })}<dt>Size</dt><dd>at most ${size(context.me.quota.maxFileBytes)} each</dd></dl></details>`;
}

/** @param {Check | undefined} check */
export function checkResult(check) {
  if (!check) return html`<p class="muted" role="status">Checking …</p>`;
  if (check.refusal) return html`<p class="bad-text">${icon("alert")}<span>${check.refusal}</span></p>`;
  if (check.warning) return html`<p class="warn-text">${icon("alert")}<span>${check.warning}</span></p>`;
  return html`<p class="good-text">${icon("check")}<span>Can be handed in</span></p>`;
}
