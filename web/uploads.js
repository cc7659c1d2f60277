// The uploads that this page has started. They go on while other pages are shown.

/** @import {FileUpload} from "./file-upload.js" */

/** By file id. @type {Map<string, FileUpload>} */
export const uploads = new Map();

/** Dispatches `change` when any upload has changed. */
export const uploadChanges = new EventTarget();

/** The uploads that are under way. */
export const active = () => [...uploads.values()].filter((upload) => upload.isActive);
