/* The playground: asks the server for a 15-minute key bound to person and endpoint, keeps it in a variable only, streams one chat
   completion through the gateway and measures the first token in this browser. */
"use strict";
(() => {
  const LOOPBACK = new Set(["localhost", "127.0.0.1", "[::1]"]);
  const RENEW_BEFORE_MS = 30000;

  async function readKey(form) {
    const token = form.elements.namedItem("csrfmiddlewaretoken")?.value ?? "";
    const answer = await fetch(form.dataset.keyUrl, { method: "POST", headers: { "X-CSRFToken": token, Accept: "application/json" } });
    if (!answer.ok) throw new Error(await errorSentence(answer));
    return answer.json();
  }

  // On one machine people use localhost and 127.0.0.1 for the same server; the policy allows calls to the page's own origin only.
  function address(baseUrl) {
    const url = new URL(baseUrl, location.href);
    const same = LOOPBACK.has(url.hostname) && LOOPBACK.has(location.hostname) && url.port === location.port;
    return (same ? location.origin + url.pathname : url.href).replace(/\/$/, "");
  }

  async function errorSentence(answer) {
    const body = await answer.json().catch(() => ({}));
    return body.error?.message ?? body.detail ?? `The endpoint answered with status ${answer.status}.`;
  }

  /* Yields the JSON of each server-sent event until [DONE]. */
  async function* events(body) {
    const reader = body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = "";
    for (;;) {
      const { value, done } = await reader.read();
      rest += value ?? "";
      const lines = rest.split(/\r?\n/);
      rest = done ? "" : lines.pop();
      for (const line of lines) {
        if (!line.startsWith("data:")) continue;
        const data = line.slice(5).trim();
        if (data === "[DONE]") return;
        if (data) yield JSON.parse(data);
      }
      if (done) return;
    }
  }

  const time = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);
  const part = (text, strong = false) => {
    const span = document.createElement("span");
    span.textContent = text;
    if (strong) span.className = "gh-strong";
    return span;
  };

  function showFacts(box, facts) {
    const parts = [];
    if (facts.first !== null) parts.push(part(`First token ${time(facts.first)}`, true));
    parts.push(part(`Whole answer ${time(facts.whole)}`));
    if (facts.usage) {
      const { prompt_tokens: input, completion_tokens: output } = facts.usage;
      parts.push(part(`${input.toLocaleString("en")} in · ${output.toLocaleString("en")} out tokens`));
      const seconds = (facts.whole - (facts.first ?? 0)) / 1000;
      if (output > 1 && seconds > 0.05) parts.push(part(`${(output / seconds).toFixed(1)} tokens / s`));
    }
    if (facts.requestId) {
      const id = part("");
      id.append(`Request ${facts.requestId} `, window.gatehouse.copyButton(facts.requestId, "Copy request id"));
      parts.push(id);
    }
    box.replaceChildren(...parts);
    box.hidden = false;
  }

  async function ask(state, form, prompt) {
    const find = (name) => form.querySelector(`[data-${name}]`);
    const show = find("answer"), facts = { first: null, whole: 0, usage: null, requestId: "" };
    find("question").textContent = prompt;
    show.textContent = "";
    find("thread").hidden = false;
    find("error").hidden = find("facts").hidden = true;
    if (!state.key || Date.parse(state.key.expires_at) - Date.now() < RENEW_BEFORE_MS) state.key = await readKey(form);
    const { key, base_url: baseUrl, model } = state.key;
    const body = { model: model ?? form.dataset.model, messages: [{ role: "user", content: prompt }], stream: true, stream_options: { include_usage: true } };
    const sent = performance.now();
    const answer = await fetch(`${address(baseUrl)}/chat/completions`, {
      method: "POST",
      credentials: "omit",
      headers: { Authorization: `Bearer ${key}`, "Content-Type": "application/json" },
      body: JSON.stringify(body),
      signal: state.stop.signal,
    });
    facts.requestId = answer.headers.get("x-request-id") ?? "";
    if (answer.status === 401) state.key = null; // revoked or expired meanwhile: the next question asks for a new one
    if (!answer.ok) throw new Error(await errorSentence(answer));
    try {
      for await (const event of events(answer.body)) {
        if (event.error) throw new Error(event.error.message ?? "The endpoint broke off the answer.");
        const text = event.choices?.[0]?.delta?.content;
        if (text) {
          facts.first ??= performance.now() - sent;
          show.append(text);
        }
        facts.usage = event.usage ?? facts.usage;
      }
    } finally {
      facts.whole = performance.now() - sent;
      showFacts(find("facts"), facts);
    }
    window.gatehouse.announce("The answer is complete.");
  }

  const states = new WeakMap();
  document.addEventListener("submit", async (event) => {
    const form = event.target;
    if (!form.matches("form[data-playground]")) return;
    event.preventDefault();
    const field = form.elements.namedItem("prompt"), send = form.querySelector("[type=submit]"), stop = form.querySelector("[data-stop]");
    const prompt = field.value.trim();
    if (!prompt || send.disabled) return;
    const state = states.get(form) ?? { key: null };
    states.set(form, state);
    state.stop = new AbortController();
    send.disabled = true;
    stop.hidden = false;
    field.value = "";
    try {
      await ask(state, form, prompt);
    } catch (error) {
      const box = form.querySelector("[data-error]");
      const lost = error instanceof TypeError ? "The gateway could not be reached. Check the connection and try again." : error.message;
      box.textContent = error.name === "AbortError" ? "Stopped." : lost;
      box.hidden = false;
      window.gatehouse.announce(box.textContent);
    } finally {
      send.disabled = false;
      stop.hidden = true;
      field.focus();
    }
  });
  document.addEventListener("click", (event) => {
    const form = event.target.closest?.("[data-stop]")?.closest("form");
    if (form) states.get(form)?.stop?.abort();
  });
})();
