// The field that takes files: by drag and drop, from a file dialog, or a whole folder.

import { isSystemFile } from "./file-check.js";
import { html, icon, View } from "./view.js";

/** Dispatches `files` with the chosen `File`s as `detail`. */
class FilePicker extends View {
  #isOver = false;

  template() {
    const take = (/** @type {Event} */ event) => {
      const input = /** @type {HTMLInputElement} */ (event.target);
      this.#give([...(input.files ?? [])]);
      input.value = "";
    };
    const open = (/** @type {string} */ name) => () => /** @type {HTMLElement} */ (this.querySelector(`input[name=${name}]`)).click();
    return html`
      <div class="drop ${this.#isOver ? "over" : ""}" @dragover=${this.#over} @dragleave=${this.#leave} @drop=${this.#drop}>
        <span class="medallion">${icon("upload")}</span>
        <p><strong>Drag files or a folder here</strong></p>
        <div class="bar centre">
          <button type="button" @click=${open("files")}>Choose files</button>
          <button type="button" class="quiet" @click=${open("folder")}>Choose a folder</button>
        </div>
        <input name="files" type="file" multiple hidden @change=${take}>
        <input name="folder" type="file" webkitdirectory hidden @change=${take}>
      </div>`;
  }

  #over = (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    this.#isOver = true;
    this.update();
  };

  #leave = () => {
    this.#isOver = false;
    this.update();
  };

  #drop = async (/** @type {DragEvent} */ event) => {
    event.preventDefault();
    this.#leave();
    // The entries must be read before the first await: the list of items is empty afterwards.
    // A file that comes from another program than a file manager may have none.
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry() ?? item.getAsFile());
    const files = await Promise.all(entries.map((entry) => (entry instanceof File ? [entry] : entry ? filesOf(entry) : [])));
    this.#give(files.flat());
  };

  /** @param {File[]} files */
  #give(files) {
    const wanted = files.filter((file) => !isSystemFile(file));
    if (wanted.length) this.dispatchEvent(new CustomEvent("files", { detail: wanted }));
  }
}

/** @param {FileSystemEntry} entry @returns {Promise<File[]>} */
async function filesOf(entry) {
  if (entry.isFile) {
    return [await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject))];
  }
  const reader = /** @type {FileSystemDirectoryEntry} */ (entry).createReader();
  const files = [];
  // A directory is read in batches, until an empty one.
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const entries = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!entries.length) return files;
    for (const inner of entries) files.push(...(await filesOf(inner)));
  }
}

customElements.define("file-picker", FilePicker);
