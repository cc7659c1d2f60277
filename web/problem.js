// What can go wrong with a request.

/** A problem that the API described, or `offline` if it or the sign-in service gave no answer. Its message is for people. */
export class Problem extends Error {
  /** @param {string} kind @param {number} status @param {string} message @param {Record<string, any>} [members] */
  constructor(kind, status, message, members = {}) {
    super(message);
    this.kind = kind;
    this.status = status;
    this.members = members;
  }

  /** Whether the same request may succeed later. */
  get isTemporary() {
    return this.kind === "offline" || this.status === 429 && this.kind !== "quota-exceeded" || this.status >= 500;
  }
}
