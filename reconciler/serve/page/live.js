"use strict";
// Asks for the page again whenever the service says that something is otherwise, and puts its content in the place of what is shown. Whoever fills in a
// form or selects text is not disturbed.
(() => {
  const path = document.body.dataset.changes, live = document.getElementById("live");
  if (!path || !window.EventSource) return;
  let waits = false;
  const busy = () => document.activeElement?.closest("form") || String(window.getSelection());
  const renew = async () => {
    if (busy()) { waits = true; return; }
    waits = false;
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } });
    if (!answer.ok) return;
    const next = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("main");
    if (!next || busy()) return;
    const main = document.getElementById("main"), at = document.activeElement?.getAttribute("href");
    main.replaceChildren(...next.childNodes);
    if (at) main.querySelector(`a[href="${CSS.escape(at)}"]`)?.focus({ preventScroll: true });
  };
  const source = new EventSource(path);
  source.addEventListener("changed", renew);
  source.addEventListener("open", () => { live.textContent = "live"; });
  source.addEventListener("error", () => { live.textContent = "not live: the service does not answer"; });
  setInterval(() => { if (waits) renew(); }, 2000);
})();
