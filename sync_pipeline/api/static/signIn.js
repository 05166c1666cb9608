// Signing in with a token, where the server asks for one.

import { signIn } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { problemWords } from "./problems.js";

/** Shows the form in `root`; calls `onDone` once the server has taken the token. */
export function showSignIn(root, onDone) {
  const error = h("p", { class: "error", id: "token-error", role: "alert" });
  const token = h("input", {
    id: "token",
    value: document.getElementById("token")?.value ?? null, // typed before the language was changed
    type: "password",
    autocomplete: "current-password",
    "aria-describedby": "token-error",
    required: true,
  });
  const submit = async (event) => {
    event.preventDefault();
    replace(error);
    try {
      await signIn(token.value.trim());
      onDone();
    } catch (problem) {
      replace(error, problem.status === 401 ? t("session.wrong") : problemWords(problem));
      token.focus();
    }
  };
  root.replaceChildren(
    h(
      "form",
      { class: "sign-in", onsubmit: submit },
      h("h1", {}, t("session.title")),
      h("p", { class: "second" }, t("session.why")),
      h("label", { for: "token" }, t("session.token")),
      token,
      error,
      h("button", { class: "primary", type: "submit" }, t("session.in")),
    ),
  );
  document.title = t("app");
  token.focus();
}
