// Dialogs and messages: the token, "really delete?", and errors as one sentence.

import { h, iconButton } from "./dom.js";
import { openSession } from "./api.js";

const byId = (id) => document.getElementById(id);

let asking = null; // one prompt serves all requests that wait for it

/** Ask for the token until the server accepts one; false if the prompt was closed. */
export function askForToken() {
  asking ??= prompt().finally(() => (asking = null));
  return asking;
}

async function prompt() {
  const dialog = byId("token-dialog");
  const field = byId("token");
  byId("token-wrong").hidden = true;
  for (;;) {
    field.value = "";
    dialog.returnValue = "";
    dialog.showModal();
    await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
    if (!field.value) return false;
    if (await openSession(field.value)) {
      field.value = "";
      return true;
    }
    byId("token-wrong").hidden = false;
  }
}

/** Resolves to whether the user wants that. */
export async function confirmed(question) {
  const dialog = byId("confirm");
  byId("confirm-text").textContent = question;
  dialog.returnValue = "no";
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  return dialog.returnValue === "yes";
}

/** The error's message as a sentence: a capital, a full stop. */
function asSentence(text) {
  const isWord = /^[a-z]+\s/.test(text); // not the name of a file
  const begun = isWord ? text.charAt(0).toUpperCase() + text.slice(1) : text;
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}

/** Show an error until it is closed or the next thing is begun. */
export function showError(error) {
  const close = iconButton("close", "Close the message", clearErrors);
  byId("alerts").replaceChildren(h("p", { class: "alert" }, h("span", {}, asSentence(error.message)), close));
}

export function clearErrors() {
  byId("alerts").replaceChildren();
}
