// How states, sizes, times and dates read. Every word that a person sees for a state of the API stands here.

/** @import {DocumentSummary, Kind, SubmissionSummary} from "./types.d.ts" */
/** @import {Tone} from "./view.js" */

/** @type {Record<Kind, string>} */
export const KIND_NAMES = { video: "Video", audio: "Audio", document: "Document", picture: "Picture" };

/** @param {number} bytes */
export function size(bytes) {
  if (bytes < 1000) return `${bytes} bytes`;
  const units = ["kB", "MB", "GB", "TB"];
  let value = bytes / 1000;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** A moment of a video, such as 1:02:07. @param {number} seconds */
export function clock(seconds) {
  const total = Math.max(0, Math.floor(Number.isFinite(seconds) ? seconds : 0));
  const [h, m, s] = [Math.floor(total / 3600), Math.floor((total % 3600) / 60), total % 60];
  const pad = (/** @type {number} */ n) => String(n).padStart(2, "0");
  return h ? `${h}:${pad(m)}:${pad(s)}` : `${m}:${pad(s)}`;
}

/** How long something takes or lasts, roughly. @param {number} seconds */
export function duration(seconds) {
  if (seconds < 60) return `${Math.max(1, Math.round(seconds))} s`;
  if (seconds < 5400) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

/** How long ago a time was. @param {string} time RFC 3339 */
export const age = (time) => duration((Date.now() - Date.parse(time)) / 1000);

const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
const MOMENT = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });

/** @param {string} time RFC 3339 */
export const day = (time) => DAY.format(new Date(time));

/** @param {string} time RFC 3339 */
export const moment = (time) => MOMENT.format(new Date(time));

/** @param {number} count @param {string} one @param {string} [many] */
export const plural = (count, one, many = `${one}s`) => `${count.toLocaleString("en-GB")} ${count === 1 ? one : many}`;

/** @param {SubmissionSummary} submission */
export const titleOf = (submission) => submission.title?.trim() || `Lesson of ${day(submission.createdAt)}`;

/**
 * The state of a submission for its teacher, or for those who read it.
 * @param {SubmissionSummary} submission @param {boolean} [forTeacher] @returns {[Tone, string]}
 */
export function submissionState({ state, ready }, forTeacher = false) {
  switch (state) {
    case "Draft":
      return ["plain", "Nothing arrived yet"];
    case "InProgress":
      return ["busy", "In progress"];
    case "NeedsAttention":
      return ["warn", forTeacher ? "Needs your attention" : ready ? "Partly readable" : "Not readable"];
    default:
      return ["good", forTeacher ? "Ready for the evaluators" : "Ready to read"];
  }
}

/** What of a submission is there, such as "2 of 3 files ready". @param {SubmissionSummary} submission */
export function progress({ open, ready, rejected, failed }) {
  const total = open + ready + rejected + failed;
  if (total === 0) return "No file yet";
  if (ready === total) return total === 1 ? "1 file, ready" : `${total} files, all ready`;
  const parts = [`${ready} of ${plural(total, "file")} ready`];
  if (open) parts.push(`${open} in progress`);
  if (rejected + failed) parts.push(`${rejected + failed} not usable`);
  return parts.join(", ");
}

/** @param {DocumentSummary} document */
export const isFinal = ({ state }) => state === "Ready" || state === "Rejected" || state === "Failed";

/** The state of a file in plain words. @param {DocumentSummary} document @returns {[Tone, string]} */
export function documentState({ state, kind }) {
  const isHeard = kind === "video" || kind === "audio";
  switch (state) {
    case "Received":
      return ["busy", "Arrived, waiting for its turn"];
    case "Transferring":
      return ["busy", isHeard ? "Being sent for transcription" : "Being sent for proofreading"];
    case "Processing":
      return ["busy", isHeard ? "Being transcribed" : "Being proofread"];
    case "Verifying":
    case "Normalizing":
      return ["busy", "Almost ready"];
    case "Rejected":
      return ["bad", "Not accepted"];
    case "Failed":
      return ["bad", "Could not be processed"];
    default:
      return ["good", "Ready"];
  }
}

/**
 * A name as it is shown: characters that reverse or hide text are made visible, so that `exe.fdp` is not read as `pdf.exe`.
 * @param {string} name
 */
export function visibleName(name) {
  return name.replace(/[\u0000-\u001f\u007f-\u009f\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff]/g, "\ufffd");
}
