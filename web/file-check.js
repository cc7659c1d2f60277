// What a file would be refused for after the upload, said before it.

import { clock, size, visibleName } from "./words.js";

/** @import {FileType} from "./types.d.ts" */

/**
 * @typedef {object} Check
 * @property {FileType} [type] the row of the table of types
 * @property {string} [refusal] why the file cannot be handed in, and what to do
 * @property {string} [warning] why evaluators may have trouble with it, and what to do
 * @property {string} [facts] length and picture size of a recording
 */

/** What a browser is given to read the start of a file. */
const METADATA_BOUND_MS = 10_000;
const EXPORT_AGAIN =
  "Export it as MP4 with H.264, or on an iPhone choose Settings, Camera, Formats, Most Compatible before you record.";

/** Files that systems put into folders by themselves. @param {File} file */
export const isSystemFile = ({ name }) => name.startsWith(".") || name.startsWith("~$") || /^(thumbs\.db|desktop\.ini)$/i.test(name);

/**
 * @param {File} file @param {FileType[]} types @param {number} maxBytes
 * @returns {Promise<Check>}
 */
export async function checkFile(file, types, maxBytes) {
  const ending = visibleName(/\.([^.]+)$/.exec(file.name)?.[1] ?? "").toLowerCase();
  const type = types.find(({ extensions }) => extensions.includes(ending));
  if (!type) {
    const what = ending ? `Files that end in .${ending} are` : "A file without an ending such as .mp4 or .pdf is";
    return { refusal: `${what} not accepted. “Which files are accepted?” lists those that are.` };
  }
  if (!type.accepted) {
    return { type, refusal: type.advice ?? `Files that end in .${ending} are not accepted.` };
  }
  if (file.size === 0) return { type, refusal: "The file is empty. Please choose it again, or save it once more." };
  if (file.size > maxBytes) {
    return { type, refusal: `The file is ${size(file.size)}; the limit is ${size(maxBytes)}. Please make it smaller.` };
  }
  if (type.kind === "picture" || type.kind === "document") {
    return { type, warning: type.playsInBrowsers === "no" ? type.advice : undefined };
  }
  return { type, ...(await tryToPlay(file, type)) };
}

/** Opens the recording as an evaluator's browser will. @param {File} file @param {FileType} type @returns {Promise<Check>} */
async function tryToPlay(file, type) {
  const player = document.createElement("video");
  const url = URL.createObjectURL(file);
  player.preload = "metadata";
  player.muted = true;
  const result = await new Promise((resolve) => {
    player.onloadedmetadata = () => resolve("plays");
    player.onerror = () => resolve("fails");
    setTimeout(() => resolve("unknown"), METADATA_BOUND_MS);
    player.src = url;
  });
  const { duration, videoWidth, videoHeight } = player;
  player.removeAttribute("src");
  player.load();
  URL.revokeObjectURL(url);

  const advice = type.advice ?? EXPORT_AGAIN;
  if (result === "unknown") return {};
  if (result === "fails") {
    return { warning: `This browser cannot play it, so evaluators may not be able to either. If the file is whole: ${advice}` };
  }
  const length = Number.isFinite(duration) ? clock(duration) : undefined;
  if (type.kind === "audio") return { facts: length };
  if (videoWidth === 0) {
    return { facts: length, warning: `This browser plays its sound but shows no picture: the video's codec is not widely supported. ${advice}` };
  }
  return { facts: [length, `${videoWidth} × ${videoHeight}`].filter(Boolean).join(", ") };
}
