/* Behaviour of all pages, by attributes (docs/pages.md lists them). Every page works without it for browsing, requesting and deciding.
   Listeners sit on the document, so that what htmx swaps in works without being wired up. */
"use strict";
(() => {
  const root = document.documentElement;
  const find = (selector, scope = document) => scope.querySelector(selector);
  const findAll = (selector, scope = document) => [...scope.querySelectorAll(selector)];
  const visible = (element) => element.getClientRects().length > 0;
  const MINUTE = 60, HOUR = 3600, DAY = 86400, FAR_DAYS = 90;

  /* -- the one live region ---------------------------------------------------------------------------------------------- */
  let hideTimer = 0;
  function announce(text, isError = false) {
    const region = find("#announce");
    if (!region) return;
    clearTimeout(hideTimer);
    region.textContent = text;
    region.classList.toggle("pf-m-shown", isError);
    region.classList.toggle("pf-v6-screen-reader", !isError);
    if (isError) hideTimer = setTimeout(() => announce(""), 10000);
  }
  window.gatehouse = { announce, copyButton };

  /* -- copy --------------------------------------------------------------------------------------------------------------- */
  async function copy(button) {
    try {
      await writeClipboard(button.dataset.copy);
    } catch {
      announce("The browser did not allow copying. Select the text and copy it by hand.", true);
      return;
    }
    find(".gh-copied", button.parentElement)?.remove();
    const note = document.createElement("span");
    note.className = "gh-copied";
    note.textContent = "Copied";
    button.after(note);
    announce("Copied");
    setTimeout(() => note.remove(), 2000);
  }

  async function writeClipboard(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    // Plain http on another host than localhost has no clipboard object.
    const area = document.createElement("textarea");
    area.value = text;
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("copy refused");
  }

  function copyButton(value, label) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "pf-v6-c-button pf-m-link pf-m-inline pf-m-small";
    button.dataset.copy = value;
    button.textContent = label;
    return button;
  }

  /* -- pop-ups, sidebar, dialogs -------------------------------------------------------------------------------------------- */
  function closePops(except = null) {
    findAll("details[data-pop][open]").forEach((pop) => { if (pop !== except) pop.open = false; });
  }

  /* -- suggestions under the search box ------------------------------------------------------------------------------------- */
  function walkSuggestions(event) {
    const form = event.target.closest?.(".gh-search");
    if (!form) return;
    const links = findAll("[data-suggestion]", form);
    if (!links.length || !["ArrowDown", "ArrowUp"].includes(event.key)) return;
    event.preventDefault();
    const to = links.indexOf(event.target) + (event.key === "ArrowDown" ? 1 : -1);
    (to < 0 ? find("#search") : links[Math.min(to, links.length - 1)]).focus();
  }
  function closeSuggestions() {
    const box = find("#suggestions");
    if (box) box.replaceChildren();
  }

  const narrow = matchMedia("(max-width: 74.99rem)");
  function showSidebarState() {
    const open = narrow.matches ? root.classList.contains("gh-nav-open") : !root.classList.contains("gh-nav-closed");
    find("[data-sidebar-toggle]")?.setAttribute("aria-expanded", String(open));
  }
  function toggleSidebar() {
    if (narrow.matches) {
      root.classList.toggle("gh-nav-open");
    } else {
      const closed = root.classList.toggle("gh-nav-closed");
      try { localStorage.setItem("gatehouse.sidebar", closed ? "closed" : "open"); } catch { /* not kept, then */ }
    }
    showSidebarState();
  }

  /* -- what stands open beside the content where there is room, and folded above it where there is none ----------------------- */
  const single = matchMedia("(max-width: 61.99rem)");
  let unfolded = false; // opened by hand; stays so when htmx swaps it
  function fold() {
    findAll("details[data-fold]").forEach((details) => { details.open = unfolded || !single.matches; });
  }

  /* -- times, focus, confirmations: what a page needs once and again after each swap ------------------------------------------- */
  // The words of portal/templatetags/gatehouse.py: relative().
  function relative(seconds, fallback) {
    const distance = Math.abs(seconds), days = Math.round(distance / DAY);
    if (distance < 5) return "just now";
    if (days > FAR_DAYS) return fallback;
    const words = distance < MINUTE ? `${Math.floor(distance)} s`
      : distance < HOUR ? `${Math.floor(distance / MINUTE)} min`
      : distance < 2 * DAY ? `${Math.floor(distance / HOUR)} h`
      : `${days} days`;
    return seconds > 0 ? `${words} ago` : `in ${words}`;
  }
  function refreshTimes() {
    findAll("time[data-relative]").forEach((time) => {
      const text = relative((Date.now() - Date.parse(time.dateTime)) / 1000, time.textContent);
      if (time.textContent !== text) time.textContent = text;
    });
  }

  function checkConfirm(form) {
    const field = form.elements.namedItem("confirm"), submit = find("[type=submit]", form);
    if (field && submit) submit.disabled = field.value.trim() !== form.dataset.confirm;
  }

  /* -- ticked rows of a list: how many, and all at once ------------------------------------------------------------------------ */
  function countTicked() {
    const ticks = findAll("input[data-tick]"), on = ticks.filter((tick) => tick.checked).length;
    findAll("[data-ticked]").forEach((place) => { place.textContent = on; });
    findAll("[data-tick-all]").forEach((all) => {
      all.disabled = !ticks.length;
      all.checked = on > 0 && on === ticks.length;
      all.indeterminate = on > 0 && on < ticks.length;
    });
  }
  function onTick(box) {
    if (box.matches("[data-tick-all]")) findAll("input[data-tick]", box.closest("table")).forEach((tick) => { tick.checked = box.checked; });
    countTicked();
  }

  let lastAnnounced = "";
  function settle(scope) {
    refreshTimes();
    countTicked();
    fold();
    findAll("form[data-guard=changed]").forEach((form) => { changed.add(form); form.dataset.guard = ""; });
    findAll("form[data-confirm]").forEach((form) => { if (form.dataset.confirm) checkConfirm(form); });
    const wanted = scope.matches?.("[data-focus]") ? scope : find("[data-focus]", scope);
    wanted?.focus();
    const news = scope.dataset?.announce ?? find("[data-announce]", scope)?.dataset.announce;
    if (news && news !== lastAnnounced && scope !== document) announce(news);
    if (news) lastAnnounced = news;
  }

  /* -- tabs of snippets -------------------------------------------------------------------------------------------------------- */
  function selectTab(tab) {
    findAll("[role=tab]", tab.closest("[data-tabs]")).forEach((one) => {
      const on = one === tab;
      one.setAttribute("aria-selected", String(on));
      one.tabIndex = on ? 0 : -1;
      one.parentElement.classList.toggle("pf-m-current", on);
      document.getElementById(one.getAttribute("aria-controls"))?.classList.toggle("gh-tab-off", !on);
    });
    tab.focus();
  }
  function walkTabs(event) {
    const tabs = findAll("[role=tab]", event.target.closest("[data-tabs]"));
    const at = tabs.indexOf(event.target);
    const to = { ArrowRight: at + 1, ArrowLeft: at - 1, Home: 0, End: tabs.length - 1 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    selectTab(tabs[(to + tabs.length) % tabs.length]);
  }

  /* -- keyboard ------------------------------------------------------------------------------------------------------------------ */
  const currentRow = () => document.activeElement?.closest("[data-row]") ?? find("[data-row][aria-current]");

  function walkRows(step) {
    const rows = findAll("[data-row]").filter(visible);
    if (!rows.length) return false;
    const at = rows.indexOf(currentRow());
    const row = rows[at < 0 ? 0 : Math.min(Math.max(at + step, 0), rows.length - 1)];
    (find("a[href], button, input", row) ?? row).focus();
    row.scrollIntoView({ block: "nearest" });
    return true;
  }

  function pressKey(key) {
    const row = currentRow();
    const scopes = [row, row?.nextElementSibling, find(".gh-openrow"), document].filter(Boolean);
    for (const scope of scopes) {
      const target = findAll(`[data-key="${key}"]`, scope).find(visible);
      if (!target) continue;
      if (target.matches("input:not([type=checkbox]), textarea, select")) target.focus(); else target.click();
      return true;
    }
    if (row && key === "o") { find("a[href]", row)?.click(); return true; }
    if (row && key === "x") { find("input[type=checkbox]", row)?.click(); return true; }
    return false;
  }

  let pendingG = 0;
  function onKey(event) {
    if (event.key === "Escape") {
      const pop = document.activeElement?.closest("details[data-pop][open]") ?? find("details[data-pop][open]");
      closePops();
      pop?.firstElementChild.focus();
      if (document.activeElement?.matches("[data-suggestion]")) find("#search")?.focus();
      closeSuggestions();
      return;
    }
    walkSuggestions(event);
    if (event.target.matches?.("[role=tab]")) walkTabs(event);
    const typing = event.target.closest?.("input:not([type=checkbox]):not([type=radio]), textarea, select, [contenteditable], dialog");
    if (typing || event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey) return;
    if (Date.now() - pendingG < 1200) {
      pendingG = 0;
      const link = find(`a[data-go="${CSS.escape(event.key)}"]`);
      if (link) { event.preventDefault(); link.click(); }
      return;
    }
    let done = true;
    if (event.key === "g") pendingG = Date.now();
    else if (event.key === "/") find("#search")?.focus();
    else if (event.key === "?") find("#keys")?.showModal();
    else if (event.key === "j") done = walkRows(1);
    else if (event.key === "k") done = walkRows(-1);
    else if (/^[acorx]$/.test(event.key)) done = pressKey(event.key);
    else done = false;
    if (done) event.preventDefault();
  }

  /* -- forms ---------------------------------------------------------------------------------------------------------------------- */
  const changed = new WeakSet(), typedSince = new WeakSet();  // typedSince: after the form began to save itself
  const guarded = () => findAll("form[data-guard]").some((form) => changed.has(form));

  function onClick(event) {
    const folded = event.target.closest?.("details[data-fold] > summary");
    if (folded) unfolded = !folded.parentElement.open;
    const target = event.target.closest?.("[data-copy], [data-sidebar-toggle], [data-open-dialog], [data-fill], [data-pop-close], [data-print], [role=tab]");
    if (!event.target.closest?.(".gh-search")) closeSuggestions();
    closePops(event.target.closest?.("details[data-pop]"));
    if (!target) return;
    if (target.matches("[data-copy]")) copy(target);
    else if (target.matches("[data-sidebar-toggle]")) toggleSidebar();
    else if (target.matches("[data-print]")) window.print();
    else if (target.matches("[data-pop-close]")) { const pop = target.closest("details"); pop.open = false; pop.firstElementChild.focus(); }
    else if (target.matches("[data-open-dialog]")) { closePops(); find(`#${target.dataset.openDialog}`)?.showModal(); }
    else if (target.matches("[role=tab]")) { if (target.closest("[data-tabs]")) selectTab(target); }
    else {
      const field = find(target.dataset.fill);
      if (!field) return;
      field.value = target.dataset.value;
      field.dispatchEvent(new Event("input", { bubbles: true }));
      (findAll("input", field.form).find((one) => one.type !== "hidden" && !one.value) ?? field).focus();
    }
  }

  document.addEventListener("click", onClick);
  document.addEventListener("keydown", onKey);
  document.addEventListener("focusin", (event) => { if (!event.target.closest?.(".gh-search")) closeSuggestions(); });
  document.addEventListener("input", (event) => {
    const form = event.target.form;
    if (form?.matches("[data-guard]")) { changed.add(form); typedSince.add(form); }
    if (form?.dataset.confirm) checkConfirm(form);
  });
  document.addEventListener("change", (event) => {
    if (event.target.matches("[data-autosubmit]")) event.target.form.requestSubmit();
    if (event.target.matches("[data-tick], [data-tick-all]")) onTick(event.target);
  });
  // A form on its way asks nothing more: a late plan or save would meet a request that is already sent.
  const leaving = new WeakSet();
  document.addEventListener("submit", (event) => {
    const form = event.target;
    changed.delete(form);
    if (event.defaultPrevented || !form.matches("[data-guard]")) return;
    leaving.add(form);
    [form, ...findAll("[data-autosave]", form)].forEach((element) => window.htmx.trigger(element, "htmx:abort"));
  });
  document.addEventListener("htmx:beforeRequest", (event) => { if (leaving.has(event.target.closest("form"))) event.preventDefault(); });
  document.addEventListener("htmx:beforeRequest", (event) => { if (event.target.matches("[data-autosave]")) typedSince.delete(event.target.closest("form")); });
  document.addEventListener("gatehouse:saved", (event) => {
    const form = event.target.closest("form");
    if (!typedSince.has(form)) changed.delete(form);
  });
  window.addEventListener("beforeunload", (event) => { if (guarded()) event.preventDefault(); });
  window.addEventListener("pageshow", () => { // a browser that goes back keeps the ticks, and the form to go on with
    countTicked();
    findAll("form[data-guard]").forEach((form) => leaving.delete(form));
  });
  narrow.addEventListener("change", showSidebarState);
  single.addEventListener("change", fold);

  /* -- htmx ------------------------------------------------------------------------------------------------------------------------- */
  document.addEventListener("htmx:load", (event) => settle(event.detail.elt));
  document.addEventListener("htmx:beforeRequest", (event) => event.detail.target?.setAttribute("aria-busy", "true"));
  document.addEventListener("htmx:afterRequest", (event) => event.detail.target?.removeAttribute("aria-busy"));
  document.addEventListener("htmx:sendError", () => announce("The portal did not answer. Check the connection; nothing was changed.", true));
  document.addEventListener("htmx:timeout", () => announce("The portal took too long to answer. Reload the page to see the present state.", true));
  document.addEventListener("htmx:responseError", (event) => {
    const { status } = event.detail.xhr;
    const sentences = {
      401: "You are signed out. Reload the page and sign in again.",
      403: "Your role does not allow this; nothing was changed.",
      404: "This is gone, or it is no longer visible to you. Reload the page.",
      409: "The state has changed meanwhile; nothing was changed. Reload the page.",
      429: "Too many requests in a short time. Wait a moment and try again.",
    };
    announce(sentences[status] ?? `The portal answered with an error (${status}); nothing was changed. Try again.`, true);
  });

  showSidebarState();
  settle(document);
  setInterval(refreshTimes, 15000);
})();
