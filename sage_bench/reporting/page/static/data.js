// Loads the report's data. A page opened as a file may not fetch, but may load scripts: every data
// file is one call of `benchReport.receive` with compressed JSON, which is parsed, never executed.
"use strict";

const benchReport = {
  summary: JSON.parse(document.getElementById("summary").textContent),
  readers: {},
  waiting: new Map(),
  loaded: new Map(),
  scripts: new Map(),
};

benchReport.receive = (name, text) => {
  const waits = benchReport.waiting.get(name);
  if (waits) unpack(text).then(waits.done, waits.failed);
};

async function unpack(text) {
  const bytes = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("deflate"));
  return JSON.parse(await new Response(stream).text());
}

function addScript(url) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = url;
    script.onload = () => { script.remove(); done(); };
    script.onerror = () => { script.remove(); failed(new Error(`${url} cannot be loaded; it belongs beside this page`)); };
    document.head.append(script);
  });
}

// The newest values are kept: texts of a large study do not all fit into a phone.
const KEPT = 40;

benchReport.load = (name) => {
  const { loaded, waiting, summary } = benchReport;
  if (loaded.has(name)) {
    const value = loaded.get(name);
    loaded.delete(name);
    loaded.set(name, value);
    return value;
  }
  const value = new Promise((done, failed) => {
    waiting.set(name, { done, failed });
    addScript(`${summary.files}/data/${name}.js`).catch(failed);
  }).finally(() => waiting.delete(name));
  value.catch(() => loaded.delete(name));
  loaded.set(name, value);
  if (loaded.size > KEPT) loaded.delete(loaded.keys().next().value);
  return value;
};

// A library of the report (Plotly, KaTeX), loaded when it is first needed.
benchReport.library = (file) => {
  const { scripts, summary } = benchReport;
  if (!scripts.has(file)) scripts.set(file, addScript(`${summary.files}/${file}`));
  return scripts.get(file);
};

// An element with attributes and children; children are text or elements, never HTML.
function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === false || value === null || value === undefined) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name in element && typeof value === "boolean") element[name] = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

// What stands behind the # of the address: the page, and what is chosen on it.
function address() {
  const [page, words] = location.hash.slice(1).split("?");
  return { page, chosen: new URLSearchParams(words || "") };
}

function setAddress(page, chosen) {
  const kept = new URLSearchParams(Object.entries(chosen).filter(([, value]) => value));
  const words = kept.toString();
  history.replaceState(null, "", `#${page}${words ? "?" + words : ""}`);
}
