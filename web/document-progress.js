// How far a file is on its way to the evaluators.

import { html, icon, nothing, notice } from "./view.js";
import { moment } from "./words.js";

/** @import {DocumentState, DocumentSummary} from "./types.d.ts" */

/** @type {[string, DocumentState[]][]} */
const STEPS = [["Arrived", ["Received"]], ["Sent", ["Transferring"]], ["Processed", ["Processing"]], ["Checked", ["Verifying", "Normalizing"]], ["Ready", ["Ready"]]];

/** How far a file is, or why it cannot be read. @param {DocumentSummary} shown */
export function documentProgress(shown) {
  if (shown.state === "Rejected" || shown.state === "Failed") {
    return notice("bad", html`<strong>This file cannot be read.</strong> ${shown.reason?.message ?? ""} The teacher sees the same reason and can replace the file.`);
  }
  const now = STEPS.findIndex(([, states]) => states.includes(shown.state));
  return html`<ol class="steps" aria-label="How far this file is">${STEPS.map(([label, states], index) => html`
    <li class=${index < now ? "past" : index === now ? "now" : ""} aria-current=${index === now ? "step" : nothing}>
      <span class="dot">${index < now ? icon("check") : nothing}</span>${label}
      ${index <= now && shown.times[states[0]] ? html`<small class="muted">${moment(/** @type {string} */ (shown.times[states[0]]))}</small>` : nothing}</li>`)}</ol>`;
}
