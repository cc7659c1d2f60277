// A teacher's submissions, newest first.

import { SubmissionList } from "./submission-list.js";
import { emptyState, html, icon, nothing } from "./view.js";

class SubmissionsPage extends SubmissionList {
  get query() {
    return { mine: "true" };
  }

  template() {
    const handIn = html`<a class="button primary" href="#/hand-in">${icon("add")}Hand in a lesson</a>`;
    const empty = emptyState("upload", "Hand in your first lesson",
      "Add the recording of a lesson, the lesson plan and your material. You see here when evaluators can read it.", handIn);
    return html`
      <header class="page-head"><div class="grow"><h1 tabindex="-1">My lessons</h1>
        <p class="muted">What you have handed in, and how far it is.</p></div>${this.submissions?.length ? handIn : nothing}</header>
      ${this.list("#/submissions/", empty, true)}`;
  }
}

customElements.define("submissions-page", SubmissionsPage);
