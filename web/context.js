// What every page may read once somebody is signed in.

/** @import {Config, Me} from "./types.d.ts" */

/** @type {{config: Config, me: Me}} */
export const context = {
  config: { signIn: { issuer: "", clientId: "" }, types: [] },
  me: { subject: "", roles: [], quota: { maxOpenSubmissions: 0, maxFilesPerSubmission: 0, maxOpenBytes: 0, maxFileBytes: 0 } },
};
