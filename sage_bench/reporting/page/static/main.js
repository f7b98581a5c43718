// Pages behind the # of the address, and the keys.
"use strict";

(() => {
  const pages = [...document.querySelectorAll("section.page")];
  const links = [...document.querySelectorAll("nav a")];
  const readers = new Map();
  let shown = null;

  // Without an evaluation the first page has little to say: training stands first then.
  const first = () => (benchReport.summary.evals.length || !benchReport.summary.training.length ? "overview" : "training");

  function show() {
    const wanted = address().page;
    const page = pages.find((p) => p.id === wanted) || pages.find((p) => p.id === first());
    if (page === shown) return;
    shown = page;
    pages.forEach((p) => { p.hidden = p !== page; });
    links.forEach((a) => {
      const here = a.hash === `#${page.id}`;
      a.toggleAttribute("aria-current", here);
      if (here) a.scrollIntoView({ block: "nearest", inline: "nearest" });
    });
    scrollTo(0, 0);
    charts.open(page).then(() => { page.dataset.drawn = "yes"; });
    for (const place of [page, ...page.querySelectorAll("[data-reader]")]) {
      const reader = place.dataset.reader;
      if (reader && !readers.has(page)) readers.set(page, benchReport.readers[reader](place));
    }
  }

  function turnPage(by) {
    const at = links.findIndex((a) => a.hash === `#${shown.id}`);
    location.hash = links[(at + by + links.length) % links.length].hash;
  }

  addEventListener("hashchange", show);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const field = event.target.closest("input, select, textarea, dialog");
    if (field) {
      if (event.key === "Escape" && field.matches("input")) field.blur();
      return;
    }
    const common = { "?": () => document.getElementById("keys").showModal(), "[": () => turnPage(-1), "]": () => turnPage(1) };
    const keys = { ...common, ...(readers.get(shown) || {}) };
    const act = Object.hasOwn(keys, event.key) ? keys[event.key] : null;
    // Enter and the space bar press the button that has the focus
    if (!act || (event.key === "Enter" && event.target.closest("button, a, summary"))) return;
    event.preventDefault();
    act();
  });
  document.documentElement.classList.add("scripted");
  show();
})();
