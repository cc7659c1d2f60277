// Questions and help in a modal dialog.

import { render } from "./vendor/lit-html.js";
import { html, icon, nothing } from "./view.js";

/**
 * Asks in a modal dialog. Resolves with the value of the button that was pressed, or with "" if the dialog was dismissed.
 * @param {{title: string, body: unknown, actions: {value: string, label: string, style?: string}[]}} question
 * @returns {Promise<string>}
 */
export function ask({ title, body, actions }) {
  const dialog = document.createElement("dialog");
  dialog.setAttribute("aria-labelledby", "dialog-title");
  document.body.append(dialog);
  render(
    html`<form method="dialog">
      <header><h2 id="dialog-title">${title}</h2>
        <button class="quiet square" value="" aria-label="Close">${icon("close")}</button></header>
      <div class="stack">${body}</div>
      ${actions.length
        ? html`<footer>${actions.map(({ value, label, style }) => html`<button class=${style ?? ""} value=${value}>${label}</button>`)}</footer>`
        : nothing}
    </form>`,
    dialog,
  );
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    });
    dialog.showModal();
  });
}
