// The sign-in form, shown if the server requires a token.

import { signIn } from "./api.js";
import { h, replace } from "./dom.js";
import { t } from "./i18n.js";
import { describeProblem } from "./problems.js";

/** Shows the form in `root`; calls `onSignedIn` when the server accepts the token. */
export function showSignIn(root, onSignedIn) {
  const error = h("p", { class: "error", id: "token-error", role: "alert" });
  const token = h("input", {
    id: "token",
    value: document.getElementById("token")?.value ?? null, // keep it when the language changes
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
      onSignedIn();
    } catch (problem) {
      replace(error, problem.status === 401 ? t("signIn.invalid") : describeProblem(problem));
      token.focus();
    }
  };
  root.replaceChildren(
    h(
      "form",
      { class: "sign-in", onsubmit: submit },
      h("h1", {}, t("signIn.title")),
      h("p", { class: "secondary" }, t("signIn.hint")),
      h("label", { for: "token" }, t("signIn.token")),
      token,
      error,
      h("button", { class: "primary", type: "submit" }, t("signIn.submit")),
    ),
  );
  document.title = t("app");
  token.focus();
}
