// The frame of the pages: sign-in, navigation by role, routes in the fragment, light and dark.

import { get } from "./api.js";
import { context } from "./context.js";
import { session, signIn, signOut, start } from "./session.js";
import { active, uploadChanges } from "./uploads.js";
import { failure, html, icon, loading, notice, nothing, View } from "./view.js";
import { plural } from "./words.js";

/** @import {Role} from "./types.d.ts" */

/** The places of the navigation, with the pages that belong to each. @type {{role: Role, href: string, label: string, icon: string, pages: string}[]} */
const PLACES = [
  { role: "teacher", href: "#/submissions", label: "My lessons", icon: "upload", pages: "submissions-page submission-page hand-in-page" },
  { role: "evaluator", href: "#/review", label: "Evaluate", icon: "read", pages: "review-page read-page" },
  { role: "operator", href: "#/operations", label: "Operations", icon: "flow", pages: "operations-page" },
  { role: "operator", href: "#/subscribers", label: "Subscribers", icon: "send", pages: "subscribers-page" },
];

const THEMES = ["auto", "light", "dark"];
const THEME = "lectern.theme";

/** @typedef {"starting" | "signedOut" | "signedIn" | "broken"} Phase */

class LecternApp extends View {
  /** @type {Phase} */
  #phase = "starting";
  /** @type {unknown} */
  #error;
  /** The element of the route, and the address that it belongs to. @type {HTMLElement | undefined} */
  #page;
  #pageKey = "";

  connectedCallback() {
    this.replaceChildren();
    applyTheme();
    super.connectedCallback();
    this.listen(window, "hashchange", () => this.#route());
    this.listen(uploadChanges, "change", () => this.update());
    this.listen(session, "ended", () => {
      this.#phase = "signedOut";
      this.#error = new Error("Your session has ended. Please sign in again; you come back to this page.");
      this.update();
    });
    void this.#start();
  }

  #start = async () => {
    this.#phase = "starting";
    this.#error = undefined;
    this.update();
    try {
      const response = await fetch("web/config.json", { cache: "no-store" }).catch(() => undefined);
      if (!response?.ok) throw new Error("Lectern cannot be reached. Please check your connection and try again.");
      context.config = await response.json();
    } catch (error) {
      this.#error = error;
      this.#phase = "broken";
      return this.update();
    }
    try {
      this.#phase = (await start(context.config)) ? "signedIn" : "signedOut";
      if (this.#phase === "signedIn") context.me = await get("me");
    } catch (error) {
      this.#error = error;
      this.#phase = this.#phase === "signedIn" ? "broken" : "signedOut";
    }
    this.update();
    if (this.#phase === "signedIn") this.#route();
  };

  /** Shows the page of the address. */
  async #route() {
    if (this.#phase !== "signedIn") return;
    const [path, query = ""] = location.hash.replace(/^#\/?/, "").split("?");
    const [name = "", first = "", second = ""] = path.split("/").map(decoded);
    const home = PLACES.find(({ role }) => context.me.roles.includes(role))?.href;
    /** @type {Record<string, () => [string, string, Record<string, unknown>]>} element, key and properties */
    const routes = {
      "hand-in": () => ["hand-in-page", "", {}],
      submissions: () => (first ? ["submission-page", first, { submissionId: first }] : ["submissions-page", "", {}]),
      review: () => ["review-page", query, { filters: Object.fromEntries(new URLSearchParams(query)) }],
      read: () => ["read-page", first, { submissionId: first, documentId: second }],
      operations: () => ["operations-page", "", {}],
      subscribers: () => ["subscribers-page", "", {}],
    };
    if (!Object.hasOwn(routes, name)) {
      if (home) location.replace(home);
      return;
    }
    const [tag, key, properties] = routes[name]();
    // Each page has its module: nobody loads the pages of other roles.
    const hash = location.hash;
    try {
      await import(`./page-${tag.replace("-page", "")}.js`);
    } catch {
      this.#error = new Error("This page cannot be loaded. Please check your connection and try again.");
      this.#phase = "broken";
      return this.update();
    }
    if (hash !== location.hash) return;
    const isSame = this.#page?.localName === tag && this.#pageKey === key;
    const wasSameKind = this.#page?.localName === tag;
    if (!isSame || !this.#page) this.#page = document.createElement(tag);
    this.#pageKey = key;
    Object.assign(this.#page, properties);
    document.title = `${PLACES.find(({ pages }) => pages.includes(tag))?.label ?? "Lesson"} · Lectern`;
    this.updateNow();
    if (wasSameKind) return;
    // As after a load of a page: from the top, and the focus on the heading.
    scrollTo(0, 0);
    requestAnimationFrame(() => this.querySelector("h1")?.focus({ preventScroll: true }));
  }

  template() {
    const { roles } = context.me;
    const isSignedIn = this.#phase === "signedIn";
    const running = active();
    const total = running.reduce((sum, { file }) => sum + file.size, 0);
    const sent = running.reduce((sum, { sentBytes }) => sum + sentBytes, 0);
    const toMain = (/** @type {Event} */ event) => {
      event.preventDefault();
      /** @type {HTMLElement} */ (this.querySelector("main")).focus();
    };
    return html`
      <a class="skip" href="#main" @click=${toMain}>Skip to the content</a>
      <header class="top"><div class="inner">
        <span class="brand"><span class="mark"></span>Lectern</span>
        ${isSignedIn ? html`<nav aria-label="Main"><ul>${PLACES.filter(({ role }) => roles.includes(role)).map(({ href, label, icon: name, pages }) => html`
          <li><a href=${href} aria-current=${this.#page && pages.includes(this.#page.localName) ? "page" : nothing}>${icon(name)}<span>${label}</span></a></li>`)}</ul></nav>` : nothing}
        <span class="grow"></span>
        ${running.length ? html`<a class="running" href="#/submissions/${running[0].submissionId}" title="Uploads">${icon("upload")}<span class="hidden">${plural(running.length, "upload")}: </span>${total ? Math.floor((sent / total) * 100) : 0} %</a>` : nothing}
        <button class="quiet square" aria-label="Colours: ${theme()}" title="Colours: ${theme()}" @click=${() => {
          localStorage.setItem(THEME, THEMES[(THEMES.indexOf(theme()) + 1) % THEMES.length]);
          applyTheme();
          this.update();
        }}>${icon("contrast")}</button>
        ${isSignedIn ? html`<button class="quiet leave" @click=${signOut}>${icon("leave")}<span>Sign out</span></button>` : nothing}
      </div></header>
      <main id="main" tabindex="-1">${this.#content()}</main>
      <div id="announcements" class="hidden" aria-live="polite"></div>`;
  }

  #content() {
    switch (this.#phase) {
      case "starting":
        return html`<h1 class="hidden">Lectern</h1>${loading("Opening Lectern")}`;
      case "broken":
        return html`<h1>Lectern</h1>${failure(this.#error, this.#start)}`;
      case "signedOut":
        return html`<div class="welcome"><span class="mark large"></span><h1 tabindex="-1">Hand in lessons and evaluate them</h1>
          <p>Teachers hand in recordings, plans and material. Evaluators watch and read them, with the transcript and findings beside them.</p>
          ${this.#error ? notice("warn", this.#error instanceof Error ? this.#error.message : String(this.#error)) : nothing}
          <button class="primary large" @click=${() => signIn()}>Sign in</button></div>`;
      default:
        return context.me.roles.length ? this.#page ?? nothing
          : html`<h1>Welcome</h1>${notice("warn", "Your account has no role yet, so there is nothing to show. Ask the person who invited you to add you to the teachers or evaluators, then sign in again.")}`;
    }
  }
}

/** What cannot be decoded stays as it is; its page says that it does not exist. @param {string} part of an address */
function decoded(part) {
  try {
    return decodeURIComponent(part);
  } catch {
    return part;
  }
}

const theme = () => localStorage.getItem(THEME) ?? "auto";

function applyTheme() {
  document.documentElement.dataset.theme = theme();
}

customElements.define("lectern-app", LecternApp);
