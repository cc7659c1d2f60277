// Signing in by the OpenID Connect code flow with PKCE.

import { redirectUri, requestToken, withQuery } from "./session.js";

/** @import {Provider, Tokens} from "./session.js" */

/** Holds what the answer of the identity provider is compared with, while the person is away. */
const PENDING = "lectern.signIn";

/** Leaves for the sign-in page. @param {Provider} provider */
export async function begin({ authorizeUrl, clientId, scope }) {
  const verifier = randomText();
  const state = randomText();
  sessionStorage.setItem(PENDING, JSON.stringify({ verifier, state, route: location.hash }));
  const challenge = base64Url(await crypto.subtle.digest("SHA-256", new TextEncoder().encode(verifier)));
  location.assign(withQuery(authorizeUrl, {
    response_type: "code",
    client_id: clientId,
    redirect_uri: redirectUri(),
    scope,
    state,
    code_challenge: challenge,
    code_challenge_method: "S256",
  }));
}

/** Turns the answer in the page's address into tokens, and goes back to the route. @param {URLSearchParams} answer @returns {Promise<Tokens>} */
export async function finish(answer) {
  const pending = JSON.parse(sessionStorage.getItem(PENDING) ?? "{}");
  sessionStorage.removeItem(PENDING);
  history.replaceState(null, "", redirectUri() + (pending.route ?? ""));
  const code = answer.get("code");
  if (!pending.state || pending.state !== answer.get("state")) {
    throw new Error("This sign-in was not started in this tab. Please sign in again.");
  }
  if (!code) throw new Error("The sign-in was not finished. Please sign in again.");
  const response = await requestToken({
    grant_type: "authorization_code",
    code,
    redirect_uri: redirectUri(),
    code_verifier: pending.verifier,
  });
  if (!response.ok) throw new Error("The sign-in did not succeed. Please sign in again.");
  return response.json();
}

function randomText() {
  return base64Url(crypto.getRandomValues(new Uint8Array(32)));
}

/** @param {ArrayBuffer | Uint8Array<ArrayBuffer>} bytes */
function base64Url(bytes) {
  return btoa(String.fromCharCode(...new Uint8Array(bytes))).replace(/\+/g, "-").replace(/\//g, "_").replace(/=+$/, "");
}
