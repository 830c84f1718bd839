"use strict";
// Asks for the page again whenever the service says that something is otherwise, and puts its content in the place of what is shown: the focus stays
// where it is, and what was opened stays open. Whoever fills in a form or selects text is not disturbed.
(() => {
  const main = document.getElementById("main");

  // One stop of Tab for the cells of a group; arrows lead from one to the next.
  const rove = () => {
    for (const cells of main.querySelectorAll(".cells")) {
      [...cells.children].forEach((cell, i) => { cell.tabIndex = i ? -1 : 0; });
      cells.parentElement.querySelector(".past")?.remove();
    }
    for (const hint of main.querySelectorAll(".arrows")) hint.hidden = false;
  };
  const below = (cell, next) => {
    let to = cell[next];
    while (to && (to.offsetTop === cell.offsetTop || (next[0] === "n" ? to.offsetLeft < cell.offsetLeft && to.nextElementSibling?.offsetTop === to.offsetTop : to.offsetLeft > cell.offsetLeft))) to = to[next];
    return to;
  };
  const lead = {
    ArrowRight: cell => cell.nextElementSibling, ArrowLeft: cell => cell.previousElementSibling,
    ArrowDown: cell => below(cell, "nextElementSibling"), ArrowUp: cell => below(cell, "previousElementSibling"),
    Home: cell => cell.parentElement.firstElementChild, End: cell => cell.parentElement.lastElementChild,
  };
  main.addEventListener("keydown", event => {
    const cell = event.target.closest(".cells > a"), to = cell && !event.altKey && !event.ctrlKey && !event.metaKey && lead[event.key]?.(cell);
    if (!to) return;
    event.preventDefault();
    to.focus();
  });
  main.addEventListener("focusin", ({ target }) => {
    if (!target.matches(".cells > a")) return;
    for (const cell of target.parentElement.querySelectorAll('[tabindex="0"]')) cell.tabIndex = -1;
    target.tabIndex = 0;
  });
  rove();

  const path = document.body.dataset.changes, live = document.getElementById("live");
  if (!path || !window.EventSource) return;
  let waits = false, last = "", asking = false;
  const busy = () => document.activeElement?.closest("form") || String(window.getSelection());
  const alike = e => [...main.getElementsByTagName(e.tagName)].filter(x => x.getAttribute("href") === e.getAttribute("href"));
  const renew = async () => {
    if (asking || busy()) { waits = true; return; }
    waits = false;
    asking = true;
    try { await ask(); } finally { asking = false; }
  };
  const ask = async () => {
    const answer = await fetch(location.href, { headers: { Accept: "text/html" } }).catch(() => null); // the service may be away
    if (!answer?.ok) return;
    const text = await answer.text();
    const next = text !== last && new DOMParser().parseFromString(text, "text/html").getElementById("main");
    if (!next) return;
    if (busy()) { waits = true; return; }
    last = text;
    const at = main.contains(document.activeElement) && document.activeElement, nth = at ? alike(at).indexOf(at) : -1;
    const open = [...main.getElementsByTagName("details")].map(e => e.open), aside = [...main.getElementsByClassName("wide")].map(e => e.scrollLeft);
    main.replaceChildren(...next.childNodes);
    [...main.getElementsByTagName("details")].forEach((e, i) => { if (open[i]) e.open = true; });
    [...main.getElementsByClassName("wide")].forEach((e, i) => { e.scrollLeft = aside[i] ?? 0; });
    rove();
    if (at) (alike(at)[nth] ?? alike(at)[0])?.focus({ preventScroll: true });
  };
  // Only a page that somebody sees listens: a browser has few connections for all its tabs.
  let source = null;
  const seen = () => document.visibilityState === "visible";
  const listen = () => {
    if (source || !seen()) return;
    source = new EventSource(path);
    source.addEventListener("changed", renew);
    source.addEventListener("open", () => { live.textContent = "live"; });
    source.addEventListener("error", () => {
      live.textContent = "not live: the service does not answer";
      if (source?.readyState === EventSource.CLOSED) { source = null; setTimeout(listen, 5000); } // it would not try again
    });
  };
  const leave = () => { source?.close(); source = null; };
  addEventListener("pagehide", leave);
  addEventListener("pageshow", event => { listen(); if (event.persisted) renew(); });
  document.addEventListener("visibilitychange", () => { if (seen()) { listen(); renew(); } else leave(); });
  listen();
  setInterval(() => { if (waits) renew(); }, 2000);
  setInterval(() => { if (seen()) renew(); }, 30000); // time alone changes some things
})();
