// A picture, fitted to the page or in its actual size.

import { html, icon, notice, nothing, View } from "./view.js";

class LessonPicture extends View {
  label = "";
  /** Gets a new URL of the picture. @type {() => Promise<string | undefined>} */
  getUrl = async () => undefined;
  #url = "";
  #isActualSize = false;
  #attempts = 0;

  connectedCallback() {
    super.connectedCallback();
    void this.#load();
  }

  /** Also runs when the picture fails: its URL may have ended. */
  #load = async () => {
    this.#attempts += 1;
    this.#url = this.#attempts > 2 ? "" : (await this.getUrl().catch(() => undefined)) ?? "";
    this.update();
  };

  template() {
    if (!this.#url) return this.#attempts > 1 ? notice("bad", "This browser cannot show the picture. Download the original instead.") : nothing;
    return html`<figure class="picture ${this.#isActualSize ? "actual" : ""}">
      <div tabindex="0" role="region" aria-label="Picture"><img src=${this.#url} alt=${this.label} @error=${this.#load}></div>
      <figcaption><button class="quiet small" aria-pressed=${this.#isActualSize} @click=${() => {
        this.#isActualSize = !this.#isActualSize;
        this.update();
      }}>${icon("full")}Actual size</button></figcaption></figure>`;
  }
}

customElements.define("lesson-picture", LessonPicture);
