// The list of the keys of the page on which lessons are read, and the switch that turns them off.

import { ask } from "./dialog.js";
import { html } from "./view.js";

/** @type {[string, [string[], string][]][]} */
const KEYS = [
  ["Recording", [
    [["Space", "K"], "Play or pause"], [["J"], "Back 10 seconds"], [["L"], "Forward 10 seconds"], [["←", "→"], "Back or forward 5 seconds"],
    [["<", ">"], "Slower or faster"], [["G"], "Go to a time"], [["C"], "Captions"], [["M"], "Sound"], [["F"], "Full screen"]]],
  ["Transcript", [[["/"], "Search"], [["↑", "↓"], "From line to line"], [["Home", "End"], "First or last line"], [["Enter"], "Play from the line"]]],
  ["Text", [[["N", "J"], "Next finding"], [["P", "K"], "Previous finding"]]],
  ["Everywhere", [[["[", "]"], "Previous or next file"], [["?"], "This help"]]],
];

/** Shows the keys until the dialog is closed. `page-read.js` reads the setting. */
export function showKeys() {
  const toggle = (/** @type {any} */ event) => localStorage.setItem("lectern.shortcuts", event.target.checked ? "on" : "off");
  return ask({
    title: "Keys",
    body: html`<div class="keys">${KEYS.map(([title, keys]) => html`<section><h3>${title}</h3><dl>${keys.map(([names, what]) => html`
        <div><dt>${names.map((name) => html`<kbd>${name}</kbd> `)}</dt><dd>${what}</dd></div>`)}</dl></section>`)}</div>
      <label class="check"><input type="checkbox" .checked=${localStorage.getItem("lectern.shortcuts") !== "off"} @change=${toggle}>
        <span>Use these keys. Turn them off if you type by voice, or if they get in the way.</span></label>`,
    actions: [],
  });
}
