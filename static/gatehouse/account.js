/* Security keys: allauth's scripts speak with the browser; this connects them with a form, and says what went wrong. */
"use strict";
document.addEventListener("DOMContentLoaded", () => {
  const form = document.querySelector("[data-key-form]");
  if (!form || !window.PublicKeyCredential) return;
  const button = form.querySelector("[type=button]"), trouble = form.querySelector("[data-key-trouble]");
  document.addEventListener("allauth.error", (event) => {
    event.preventDefault();  // else it goes to the console alone
    trouble.hidden = false;
  });
  button.addEventListener("click", () => { trouble.hidden = true; });  // before allauth's, which may fail at once
  const ids = { add: button.id, authenticate: button.id, credential: form.elements.credential.id, data: "key-data" };
  window.allauth.webauthn.forms[form.dataset.keyForm]({ ids });
});
