// The session of the person who is signed in. The access token lives in memory, the refresh token in this tab only.

import { Problem } from "./problem.js";

/** @import {Config} from "./types.d.ts" */

const REFRESH_TOKEN = "lectern.refreshToken";
/** A token is renewed this long before it ends. */
const EARLY_MS = 60_000;

/** @typedef {{clientId: string, scope: string, authorizeUrl: string, tokenUrl: string, logoutUrl?: string}} Provider */
/** @typedef {{access_token: string, expires_in?: number, refresh_token?: string}} Tokens */

/** @type {Provider | undefined} */
let provider;
let accessToken = "";
let expiresAt = 0;
/** @type {Promise<void> | undefined} */
let refreshing;

/** Dispatches `ended` when the session is over and the person has to sign in again. */
export const session = new EventTarget();

/** The address of this page without query and fragment, which the identity provider knows. */
export const redirectUri = () => location.origin + location.pathname;

/**
 * Finishes a sign-in that is under way, or continues the session of this tab.
 * @param {Config} config
 * @returns {Promise<boolean>} whether somebody is signed in
 */
export async function start({ signIn }) {
  const { issuer, clientId, scope = "openid" } = signIn;
  let { authorizeUrl, tokenUrl, logoutUrl } = signIn;
  if (!authorizeUrl || !tokenUrl) {
    const response = await fetch(`${issuer.replace(/\/$/, "")}/.well-known/openid-configuration`);
    if (!response.ok) throw new Error("The sign-in service cannot be reached. Please try again in a few minutes.");
    const found = await response.json();
    authorizeUrl ??= found.authorization_endpoint;
    tokenUrl ??= found.token_endpoint;
    logoutUrl ??= found.end_session_endpoint;
  }
  provider = { clientId, scope, authorizeUrl: authorizeUrl ?? "", tokenUrl: tokenUrl ?? "", logoutUrl };

  const answer = new URLSearchParams(location.search);
  if (answer.has("state")) {
    const { finish } = await import("./sign-in.js");
    keep(await finish(answer));
    return true;
  }
  if (!sessionStorage.getItem(REFRESH_TOKEN)) return false;
  return refresh().then(() => true, (error) => {
    // After an outage, the session goes on.
    if (error instanceof Problem || error instanceof TypeError) throw error;
    return false;
  });
}

/** Leaves for the sign-in page of the identity provider, which comes back to the route that is open now. */
export async function signIn() {
  const { begin } = await import("./sign-in.js");
  if (provider) await begin(provider);
}

export function signOut() {
  forget();
  const home = redirectUri();
  location.assign(provider?.logoutUrl
    // Cognito reads logout_uri, other providers read post_logout_redirect_uri.
    ? withQuery(provider.logoutUrl, { client_id: provider.clientId, logout_uri: home, post_logout_redirect_uri: home })
    : home);
}

/** An access token that is good for at least a minute. Throws if the session is over. */
export async function token() {
  if (Date.now() > expiresAt - EARLY_MS) await refresh();
  return accessToken;
}

/** Gets a new access token; calls at the same time share one request. */
export function refresh() {
  refreshing ??= requestRefresh().finally(() => (refreshing = undefined));
  return refreshing;
}

async function requestRefresh() {
  const refreshToken = sessionStorage.getItem(REFRESH_TOKEN);
  if (!refreshToken) return end();
  const response = await requestToken({ grant_type: "refresh_token", refresh_token: refreshToken });
  // Only the provider's refusal ends the session. An outage does not.
  if (response.status === 400 || response.status === 401) return end();
  if (!response.ok) throw new Problem("offline", 0, "The sign-in service cannot be reached. Please try again.");
  keep(await response.json());
}

/** A request to the token endpoint. @param {Record<string, string>} fields */
export function requestToken(fields) {
  if (!provider) throw new Error("The sign-in is not set up.");
  const body = new URLSearchParams({ ...fields, client_id: provider.clientId });
  return fetch(provider.tokenUrl, { method: "POST", body });
}

/** @param {Tokens} tokens */
function keep(tokens) {
  accessToken = tokens.access_token;
  expiresAt = Date.now() + (tokens.expires_in ?? 300) * 1000;
  if (tokens.refresh_token) sessionStorage.setItem(REFRESH_TOKEN, tokens.refresh_token);
}

function forget() {
  accessToken = "";
  expiresAt = 0;
  sessionStorage.removeItem(REFRESH_TOKEN);
}

/** @returns {never} */
function end() {
  forget();
  session.dispatchEvent(new Event("ended"));
  throw new Error("You have been signed out. Please sign in again.");
}

/** @param {string} url @param {Record<string, string>} query */
export function withQuery(url, query) {
  const target = new URL(url, location.href);
  for (const [name, value] of Object.entries(query)) target.searchParams.set(name, value);
  return target.href;
}
