// A video or audio player with controls of its own. It remembers where one stopped, and gets a new URL when the old one ends.

import { context } from "./context.js";
import { html, icon, notice, nothing, View } from "./view.js";
import { clock } from "./words.js";

/** @import {Segment} from "./types.d.ts" */

const SPEEDS = [0.5, 0.75, 1, 1.25, 1.5, 1.75, 2];
/** A position this close to either end of the recording is not worth going back to. */
const EDGE_S = 1;
const SPEED_KEY = "lectern.speed";
const CAPTIONS_KEY = "lectern.captions";

/** Dispatches `time` with the position in seconds as `detail`. */
class LessonPlayer extends View {
  documentId = "";
  /** @type {"video" | "audio"} */
  kind = "video";
  label = "";
  /** Gets a new URL of the recording. @type {() => Promise<string | undefined>} */
  getUrl = async () => undefined;
  #video = document.createElement("video");
  /** @type {TextTrack | undefined} */
  #track;
  #hasCues = false;
  /** Where playback is, or has to go on once a new URL is loaded. */
  #position = 0;
  #resumedAt = 0;
  /** New URLs since playback last moved. */
  #renewals = 0;
  #isBroken = false;
  #speed = Number(localStorage.getItem(SPEED_KEY)) || 1;
  #wantsCaptions = localStorage.getItem(CAPTIONS_KEY) !== "off";

  connectedCallback() {
    super.connectedCallback();
    const video = this.#video;
    video.playsInline = true;
    video.preload = "metadata";
    this.#position = Number(localStorage.getItem(this.#positionKey)) || 0;
    this.#resumedAt = this.#position;
    const events = { timeupdate: this.#moved, seeking: this.#moved, error: this.#renew, loadedmetadata: this.#goOn, pause: this.#remember, ended: this.#remember };
    for (const [type, listener] of Object.entries(events)) this.listen(video, type, listener);
    for (const type of ["play", "pause", "volumechange", "ratechange", "ended", "waiting", "playing"]) this.listen(video, type, () => this.update());
    this.listen(window, "pagehide", this.#remember);
    this.listen(document, "fullscreenchange", () => this.update());
    void this.#load();
  }

  disconnectedCallback() {
    this.#remember();
    this.#video.pause();
    super.disconnectedCallback();
  }

  /** The captions. They may come, or be replaced, while the recording plays. @param {{segments: Segment[], language: string}} captions */
  set captions({ segments, language }) {
    this.#track ??= this.#video.addTextTrack("captions", "Captions", language);
    this.#track.mode = "hidden";
    for (const cue of [...(this.#track.cues ?? [])]) this.#track.removeCue(cue);
    for (const { startMs, endMs, text } of segments) {
      // A cue's text is markup of its own, so what looks like a tag in it is escaped.
      const escaped = text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
      this.#track.addCue(new VTTCue(startMs / 1000, Math.max(endMs, startMs + 500) / 1000, escaped));
    }
    this.#hasCues = segments.length > 0;
    this.#showCaptions();
  }

  /** People who share a browser do not share where they stopped. */
  get #positionKey() {
    return `lectern.position.${context.me.subject}.${this.documentId}`;
  }

  async #load() {
    const url = await this.getUrl().catch(() => undefined);
    if (!this.isConnected) return;
    this.#isBroken = !url;
    if (url) this.#video.src = url;
    this.update();
  }

  #moved = () => {
    if (this.#video.readyState === 0) return;
    if (!this.#video.seeking && this.#video.currentTime !== this.#position) this.#renewals = 0;
    this.#position = this.#video.currentTime;
    this.dispatchEvent(new CustomEvent("time", { detail: this.#position }));
    this.update();
  };

  #goOn = () => {
    const { duration } = this.#video;
    if (this.#position < EDGE_S || this.#position > duration - EDGE_S) this.#position = this.#resumedAt = 0;
    else this.#video.currentTime = this.#position;
    this.#video.playbackRate = this.#speed;
    this.update();
  };

  #renew = async () => {
    // The URL has ended after its five minutes, or the file cannot be played: only a second failure tells.
    this.#renewals += 1;
    this.#isBroken = this.#renewals > 2;
    if (this.#isBroken) return this.update();
    const wasPlaying = !this.#video.paused;
    await this.#load();
    if (wasPlaying) void this.play();
  };

  #remember = () => {
    if (this.#position > 0) localStorage.setItem(this.#positionKey, String(Math.floor(this.#position * 10) / 10));
  };

  play() {
    // Playing fails while the browser does not allow it; the button then still says "Play".
    return this.#video.play().catch(() => this.update());
  }

  toggle() {
    if (this.#video.paused) void this.play();
    else this.#video.pause();
  }

  /** @param {number} seconds */
  seek(seconds) {
    const end = Number.isFinite(this.#video.duration) ? this.#video.duration : Infinity;
    this.#position = Math.min(Math.max(0, seconds), end);
    this.#resumedAt = 0;
    if (this.#video.readyState > 0) this.#video.currentTime = this.#position;
    this.update();
  }

  /** @param {number} seconds */
  skip(seconds) {
    this.seek(this.#position + seconds);
  }

  /** @param {number} steps */
  changeSpeed(steps) {
    const index = SPEEDS.indexOf(this.#speed) + steps;
    this.#setSpeed(SPEEDS[Math.min(Math.max(0, index), SPEEDS.length - 1)]);
  }

  /** @param {number} speed */
  #setSpeed(speed) {
    this.#speed = this.#video.playbackRate = speed;
    localStorage.setItem(SPEED_KEY, String(speed));
    this.update();
  }

  toggleMuted() {
    this.#video.muted = !this.#video.muted;
  }

  toggleCaptions() {
    this.#wantsCaptions = !this.#wantsCaptions;
    localStorage.setItem(CAPTIONS_KEY, this.#wantsCaptions ? "on" : "off");
    this.#showCaptions();
  }

  #showCaptions() {
    if (this.#track) this.#track.mode = this.#wantsCaptions ? "showing" : "hidden";
    this.update();
  }

  toggleFullscreen() {
    if (document.fullscreenElement) void document.exitFullscreen();
    else void this.requestFullscreen?.().catch(() => undefined);
  }

  focusTime() {
    /** @type {HTMLInputElement | null} */ (this.querySelector("input[name=time]"))?.select();
  }

  #goToTime = (/** @type {Event} */ event) => {
    event.preventDefault();
    const input = /** @type {HTMLInputElement} */ (this.querySelector("input[name=time]"));
    const seconds = secondsOf(input.value);
    input.setAttribute("aria-invalid", String(seconds === undefined));
    if (seconds === undefined) return;
    this.seek(seconds);
    input.value = "";
  };

  updateNow() {
    super.updateNow();
    const slider = /** @type {HTMLElement | null} */ (this.querySelector(".seek"));
    slider?.style.setProperty("--at", `${(this.#position / (this.#video.duration || 1)) * 100}%`);
  }

  template() {
    const video = this.#video;
    const { paused, muted, duration, volume } = video;
    const length = Number.isFinite(duration) ? duration : 0;
    video.setAttribute("aria-label", this.label);
    const button = (/** @type {string} */ name, /** @type {string} */ label, /** @type {() => void} */ click, /** @type {unknown} */ content = nothing) =>
      html`<button class="quiet square" aria-label=${label} title=${label} @click=${click}>${icon(name)}${content}</button>`;
    return html`
      ${this.#isBroken ? notice("bad", "This recording cannot be played here. Download the original to play it with another program.") : nothing}
      <div class="screen ${this.kind}" @click=${() => this.toggle()}>${video}
        ${this.kind === "audio" ? html`<span class="medallion">${icon("audio")}</span>` : nothing}</div>
      <div class="controls" role="group" aria-label="Player">
        <input class="seek" type="range" min="0" max=${length || 1} step="0.1" .value=${String(this.#position)} aria-label="Position"
          aria-valuetext="${clock(this.#position)} of ${clock(length)}" ?disabled=${!length}
          @input=${(/** @type {any} */ event) => this.seek(Number(event.target.value))}>
        <div class="bar">
          <button class="primary square" aria-label=${paused ? "Play" : "Pause"} title=${paused ? "Play (space)" : "Pause (space)"} @click=${() => this.toggle()}>${icon(paused ? "play" : "pause")}</button>
          ${button("back", "Back 10 seconds (J)", () => this.skip(-10), html`<small>10</small>`)}
          ${button("forward", "Forward 10 seconds (L)", () => this.skip(10), html`<small>10</small>`)}
          <span class="time">${clock(this.#position)} <span class="muted">/ ${clock(length)}</span></span>
          <span class="grow"></span>
          <label class="compact select"><span class="hidden">Speed</span>
            <select title="Speed (< and >)" @change=${(/** @type {any} */ event) => this.#setSpeed(Number(event.target.value))}>
              ${SPEEDS.map((speed) => html`<option value=${speed} .selected=${speed === this.#speed}>${speed}×</option>`)}</select>${icon("down")}</label>
          <form class="compact" @submit=${this.#goToTime}><input name="time" inputmode="numeric" autocomplete="off" placeholder="0:00" aria-label="Go to a time (G)" title="Go to a time (G)"></form>
          <span class="volume">${button(muted || volume === 0 ? "muted" : "sound", muted ? "Sound on (M)" : "Sound off (M)", () => this.toggleMuted())}
            <input type="range" min="0" max="1" step="0.05" .value=${String(muted ? 0 : volume)} aria-label="Volume"
              @input=${(/** @type {any} */ event) => Object.assign(video, { muted: false, volume: Number(event.target.value) })}></span>
          ${this.kind === "video"
            ? html`<button class="quiet square" aria-label="Captions (C)" title="Captions (C)" ?disabled=${!this.#hasCues}
                aria-pressed=${this.#wantsCaptions && this.#hasCues} @click=${() => this.toggleCaptions()}>${icon("captions")}</button>
              ${document.fullscreenEnabled ? button("full", document.fullscreenElement ? "Leave full screen (F)" : "Full screen (F)", () => this.toggleFullscreen()) : nothing}`
            : nothing}
        </div>
      </div>
      ${this.#resumedAt > 0 && length
        ? html`<p class="resumed" role="status">Continued at ${clock(this.#resumedAt)}. <button class="link" @click=${() => this.seek(0)}>From the beginning</button></p>` : nothing}`;
  }
}

/** The seconds of `90`, `1:30` or `0:01:30`; undefined if the text is no time. @param {string} text */
function secondsOf(text) {
  if (!/^\s*\d+(:[0-5]?\d){0,2}(\.\d+)?\s*$/.test(text)) return undefined;
  return text.trim().split(":").reduce((sum, part) => sum * 60 + Number(part), 0);
}

customElements.define("lesson-player", LessonPlayer);
