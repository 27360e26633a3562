/* Runs before the first paint, therefore not deferred: marks that scripts run, follows the system's theme while nobody has chosen
   one (data-theme is empty), and keeps the sidebar as it was left. */
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const contrast = matchMedia("(prefers-contrast: more)");
  const follow = () => {
    const chosen = root.dataset.theme;
    if (chosen === "light" || chosen === "dark") return;
    // High contrast can be chosen by itself; whether it is light or dark stays the system's business.
    root.classList.toggle("pf-v6-theme-dark", dark.matches);
    root.classList.toggle("pf-v6-theme-high-contrast", chosen === "high-contrast" || contrast.matches);
  };
  root.classList.add("gh-js");
  follow();
  dark.addEventListener("change", follow);
  contrast.addEventListener("change", follow);
  try {
    if (localStorage.getItem("gatehouse.sidebar") === "closed") root.classList.add("gh-nav-closed");
  } catch { /* storage can be forbidden; the sidebar is then simply open */ }
})();
