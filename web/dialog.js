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
  // These buttons do not send the form, so that Enter in a field does not dismiss it and no field has to be valid for it.
  const dismiss = () => dialog.close("");
  render(
    html`<form method="dialog">
      <header><h2 id="dialog-title">${title}</h2>
        <button type="button" class="quiet square" aria-label="Close" @click=${dismiss}>${icon("close")}</button></header>
      <div class="stack">${body}</div>
      ${actions.length
        ? html`<footer>${actions.map(({ value, label, style }) => value
            ? html`<button class=${style ?? ""} value=${value}>${label}</button>`
            : html`<button type="button" class=${style ?? ""} @click=${dismiss}>${label}</button>`)}</footer>`
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
