// Sends one file to the bucket with the requests that the API signs: small files in one request, large ones in parts.

import { call, post } from "./api.js";
import { Problem } from "./problem.js";
import { active, uploadChanges, uploads } from "./uploads.js";

/** @import {SignedPart, UploadPlan} from "./types.d.ts" */

/** Requests with file content at the same time, over all files. */
const PARALLEL = 4;
/** Requests that are hashed and signed while the others are sent, over all files: few, so that no signature expires unused. */
const AHEAD = 2;
/** Files up to this size are sent in one request. */
const SMALL_BYTES = 8 * 1024 * 1024;
/** A request that has sent nothing for so long is ended and repeated. */
const STALL_MS = 30_000;
/** How often one request is tried before the upload stops with an error, with about two minutes of pauses in all. */
const ATTEMPTS = 10;
const LONGEST_DELAY_MS = 30_000;

/** @typedef {"waiting" | "checking" | "sending" | "paused" | "offline" | "retrying" | "failed" | "done" | "cancelled"} Phase */

/** Another file was chosen to continue with than the one of which parts were sent. */
class OtherFile extends Error {}

export class FileUpload {
  /** @type {Phase} */
  phase = "waiting";
  /** Why it failed, for the teacher. */
  error = "";
  /** Whether the chosen file differs from the one of which parts were sent. */
  isOtherFile = false;
  /** Bytes per second over the last seconds; 0 before the first ones have arrived. */
  rate = 0;
  #stop = new AbortController();
  /** @type {Map<number, number>} bytes that were sent of each part; part 1 is the whole of a small file */
  #sent = new Map();
  /** @type {[number, number][]} */
  #samples = [];
  /** Whether a request was made that may have registered the file, also if its answer was lost. */
  #mayHaveArrived = false;

  /**
   * @param {string} submissionId @param {string} fileId @param {File} file
   * @param {boolean} [continues] whether another page may have sent parts of it
   */
  constructor(submissionId, fileId, file, continues = false) {
    this.path = `submissions/${submissionId}/files/${fileId}`;
    this.submissionId = submissionId;
    this.fileId = fileId;
    this.file = file;
    this.continues = continues;
    uploads.set(fileId, this);
  }

  get isActive() {
    return !["paused", "failed", "done", "cancelled"].includes(this.phase);
  }

  get sentBytes() {
    let sum = 0;
    for (const bytes of this.#sent.values()) sum += bytes;
    return Math.min(sum, this.file.size);
  }

  /** Begins, or goes on after a pause or an error. */
  async start() {
    if (this.phase === "done" || this.phase === "cancelled") return;
    this.#stop = new AbortController();
    const { signal } = this.#stop;
    this.error = "";
    this.#show("waiting");
    try {
      const plan = await this.#begin(signal);
      if (plan.method === "post") await this.#sendWhole(plan, signal);
      else await this.#sendParts(plan, signal);
      this.#show("done");
    } catch (error) {
      if (signal.aborted) return;
      // A file that has arrived is not pending any more.
      const hasArrived = this.#mayHaveArrived && error instanceof Problem && error.kind === "not-found";
      this.error = error instanceof Error ? error.message : String(error);
      this.isOtherFile = error instanceof OtherFile;
      this.#show(hasArrived ? "done" : "failed");
    }
    if (signal === this.#stop.signal) this.#stop.abort();
  }

  pause() {
    if (!this.isActive) return;
    this.#show("paused");
    this.#stop.abort();
  }

  /** Ends the upload; the caller lets the API forget the file. */
  cancel() {
    this.#show("cancelled");
    this.#stop.abort();
    uploads.delete(this.fileId);
  }

  /** Begins or continues. The API signs the checksum of a small file, so the bucket refuses any other content. @param {AbortSignal} signal */
  async #begin(signal) {
    const body = this.file.size <= SMALL_BYTES ? { checksumSha256: await sha256(this.file) } : {};
    return /** @type {UploadPlan} */ (await this.#repeat(signal, () => post(`${this.path}/upload`, body, signal)));
  }

  /** @param {Extract<UploadPlan, {method: "post"}>} first @param {AbortSignal} signal */
  async #sendWhole(first, signal) {
    /** @type {Extract<UploadPlan, {method: "post"}> | undefined} */
    let plan = first;
    await this.#transfer(1, this.file.size, signal, async () => {
      // Each attempt after the first has a new signature.
      const { url, fields } = plan ?? /** @type {Extract<UploadPlan, {method: "post"}>} */ (await this.#begin(signal));
      plan = undefined;
      this.#mayHaveArrived = true;
      const body = new FormData();
      for (const [name, value] of Object.entries(fields)) body.append(name, value);
      body.append("file", this.file);
      return { method: "POST", url, headers: {}, body };
    });
  }

  /** @param {Extract<UploadPlan, {method: "parts"}>} plan @param {AbortSignal} signal */
  async #sendParts({ partSizeBytes, partCount, uploaded }, signal) {
    const sizeOf = (/** @type {number} */ part) => Math.min(partSizeBytes, this.file.size - (part - 1) * partSizeBytes);
    const contentOf = (/** @type {number} */ part) => this.file.slice((part - 1) * partSizeBytes, part * partSizeBytes);
    const missing = new Set(Array.from({ length: partCount }, (_, index) => index + 1));
    this.#sent.clear();
    if (this.continues && uploaded.length) this.#show("checking");
    for (const { partNumber, checksumSha256 } of uploaded) {
      // Phones encode a video anew each time it is chosen: only equal checksums show that it is the same content.
      if (this.continues && (await sha256(contentOf(partNumber))) !== checksumSha256) {
        throw new OtherFile("This is not the file of which parts were sent before, or your device has changed it.");
      }
      signal.throwIfAborted();
      missing.delete(partNumber);
      this.#sent.set(partNumber, sizeOf(partNumber));
    }
    this.continues = false;
    this.#show("sending");
    for (;;) {
      await this.#sendEach([...missing], contentOf, signal);
      const lacking = await this.#complete(signal);
      if (!lacking.length) return;
      missing.clear();
      for (const part of lacking) missing.add(part);
    }
  }

  /**
   * Sends the parts, several at the same time. The first error stops the others.
   * @param {number[]} parts @param {(part: number) => Blob} contentOf @param {AbortSignal} signal
   */
  async #sendEach(parts, contentOf, signal) {
    const group = new AbortController();
    const both = AbortSignal.any([signal, group.signal]);
    const sender = async () => {
      for (let part = parts.shift(); part !== undefined; part = parts.shift()) await this.#sendPart(part, contentOf(part), both);
    };
    const senders = Array.from({ length: PARALLEL + AHEAD }, sender);
    try {
      await Promise.all(senders);
    } catch (error) {
      group.abort();
      throw error;
    }
  }

  /** @param {number} partNumber @param {Blob} body @param {AbortSignal} signal */
  async #sendPart(partNumber, body, signal) {
    /** @type {string | undefined} */
    let checksumSha256;
    await this.#transfer(partNumber, body.size, signal, async () => {
      checksumSha256 ??= await sha256(body);
      // Each attempt has a signature of its own: one that waited for the network may have expired.
      const answer = await post(`${this.path}/parts`, { parts: [{ partNumber, checksumSha256 }] }, signal);
      /** @type {SignedPart} */
      const { url, headers } = answer.parts[0];
      return { method: "PUT", url, headers, body };
    });
  }

  /** @param {AbortSignal} signal @returns {Promise<number[]>} the parts that the bucket does not have */
  async #complete(signal) {
    this.#mayHaveArrived = true;
    try {
      await this.#repeat(signal, () => call("POST", `${this.path}/complete`, { body: {}, signal }));
      return [];
    } catch (error) {
      if (error instanceof Problem && error.kind === "incomplete-upload") return error.members.missing ?? [];
      throw error;
    }
  }

  /**
   * Sends content until it has arrived, in one of the places that all files share.
   * @param {number} part @param {number} bytes @param {AbortSignal} signal
   * @param {() => Promise<{method: string, url: string, headers: Record<string, string>, body: Blob | FormData}>} prepare makes
   *   the request of one attempt, shortly before there is a place for it
   */
  async #transfer(part, bytes, signal, prepare) {
    await this.#repeat(signal, async () => {
      try {
        await preparing.hold(signal, async () => {
          const prepared = await prepare();
          await sending.hold(signal, async () => {
            this.#show("sending");
            await request({ ...prepared, signal, onProgress: (sent) => this.#progress(part, Math.min(sent, bytes)) });
          });
        });
        this.#progress(part, bytes);
      } catch (error) {
        this.#progress(part, 0);
        throw error;
      }
    });
  }

  /**
   * Repeats `work` after temporary failures, with growing pauses. Waiting for the network uses up no attempt.
   * @template T @param {AbortSignal} signal @param {() => Promise<T>} work @returns {Promise<T>}
   */
  async #repeat(signal, work) {
    for (let attempt = 1; ; ) {
      if (!navigator.onLine) {
        this.#show("offline");
        await onceOnline(signal);
      }
      try {
        return await work();
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof Problem && error.isTemporary) || attempt === ATTEMPTS) throw error;
        if (!navigator.onLine) continue;
        this.#show("retrying");
        await pause(Math.min(LONGEST_DELAY_MS, 500 * 2 ** attempt) * (0.5 + Math.random() / 2), signal);
        attempt += 1;
      }
    }
  }

  /** @param {number} part @param {number} bytes */
  #progress(part, bytes) {
    this.#sent.set(part, bytes);
    const now = performance.now();
    this.#samples.push([now, this.sentBytes]);
    while (this.#samples.length > 2 && now - this.#samples[0][0] > 8000) this.#samples.shift();
    const [first, last] = [this.#samples[0], this.#samples[this.#samples.length - 1]];
    const seconds = (last[0] - first[0]) / 1000;
    this.rate = seconds > 0.5 ? Math.max(0, (last[1] - first[1]) / seconds) : this.rate;
    uploadChanges.dispatchEvent(new Event("change"));
  }

  /** @param {Phase} phase */
  #show(phase) {
    if (this.phase === "cancelled") return;
    if (phase !== "sending") this.#samples = [];
    this.phase = phase;
    uploadChanges.dispatchEvent(new Event("change"));
  }
}

/**
 * Fails with a temporary `Problem` after a lost connection, a stall, a 403 (the signature has expired) or a 5xx.
 * @param {{method: string, url: string, headers: Record<string, string>, body: Blob | FormData, signal: AbortSignal,
 *   onProgress: (sent: number) => void}} options
 * @returns {Promise<void>}
 */
function request({ method, url, headers, body, signal, onProgress }) {
  return new Promise((resolve, reject) => {
    // fetch() tells no progress of what it sends.
    const xhr = new XMLHttpRequest();
    let timer = 0;
    const watchForStall = () => {
      clearTimeout(timer);
      timer = setTimeout(() => xhr.abort(), STALL_MS);
    };
    const fail = (/** @type {string} */ kind, status = 0, message = "The connection was lost.") => reject(new Problem(kind, status, message));
    const stop = () => xhr.abort();
    signal.addEventListener("abort", stop);
    xhr.upload.onprogress = ({ loaded }) => {
      watchForStall();
      onProgress(loaded);
    };
    xhr.onload = () => {
      if (xhr.status >= 200 && xhr.status < 300) resolve();
      else if (xhr.status === 403 || xhr.status >= 500) fail("refused", 503, "The storage does not accept the file at the moment.");
      else fail("refused", xhr.status, "The storage did not accept the file. Please remove it here and add it again.");
    };
    xhr.onerror = () => fail("offline");
    // Browsers end requests by themselves, too, for example when a phone sleeps: only the signal tells a person's cancel.
    xhr.onabort = () => (signal.aborted ? reject(signal.reason) : fail("offline", 0, "Nothing was sent for a while."));
    xhr.onloadend = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", stop);
    };
    xhr.open(method, url);
    for (const [name, value] of Object.entries(headers)) xhr.setRequestHeader(name, value);
    watchForStall();
    xhr.send(body);
    if (signal.aborted) xhr.abort();
  });
}

/** Lets so much work run at the same time; the rest waits in the order of its arrival. */
class Places {
  /** @type {(() => void)[]} */
  #waiting = [];

  /** @param {number} free */
  constructor(free) {
    this.free = free;
  }

  /** @param {AbortSignal} signal @param {() => Promise<void>} work */
  async hold(signal, work) {
    while (this.free === 0) await new Promise((resolve) => this.#waiting.push(() => resolve(undefined)));
    this.free -= 1;
    try {
      signal.throwIfAborted();
      await work();
    } finally {
      this.free += 1;
      this.#waiting.shift()?.();
    }
  }
}

const sending = new Places(PARALLEL);
const preparing = new Places(PARALLEL + AHEAD);

/** @param {Blob} content @returns {Promise<string>} Base64 */
async function sha256(content) {
  const digest = await crypto.subtle.digest("SHA-256", await content.arrayBuffer());
  return btoa(String.fromCharCode(...new Uint8Array(digest)));
}

/** @param {number} ms @param {AbortSignal} signal */
function pause(ms, signal) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(resolve, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      reject(signal.reason);
    });
  });
}

/** @param {AbortSignal} signal */
function onceOnline(signal) {
  return new Promise((resolve, reject) => {
    addEventListener("online", resolve, { once: true, signal });
    signal.addEventListener("abort", () => reject(signal.reason));
  });
}

// While something is sent, the screen stays on, and leaving the page asks first.

/** @type {WakeLockSentinel | undefined} */
let wakeLock;
let isLocking = false;

async function keepAwake() {
  if (isLocking || document.hidden || !navigator.wakeLock) return;
  isLocking = true;
  if (!active().length) await wakeLock?.release();
  // The system may refuse, for example with little battery, and it releases the lock when the page is hidden.
  else if (!wakeLock || wakeLock.released) wakeLock = await navigator.wakeLock.request("screen").catch(() => undefined);
  isLocking = false;
}

uploadChanges.addEventListener("change", () => void keepAwake());
document.addEventListener("visibilitychange", () => void keepAwake());
addEventListener("beforeunload", (event) => {
  if (active().length) event.preventDefault();
});
// An upload that gave up goes on when the network is back.
addEventListener("online", () => {
  for (const upload of uploads.values()) if (upload.phase === "failed" && !upload.isOtherFile) void upload.start();
});
