// Colours of the charts, in daylight and in the dark; one name has one colour in every chart.
"use strict";

const theme = (() => {
  const dark = matchMedia("(prefers-color-scheme: dark)");
  // told apart by people who do not see red and green alike (after Okabe and Ito)
  const light = ["#0b6bb0", "#d5500c", "#0a8a65", "#a8478a", "#b37b00", "#3aa0d8", "#7b5cc4", "#7a5a43"];
  const bright = ["#5cb0f2", "#ff8f57", "#3ccf9d", "#e28cc4", "#f0bd45", "#8fd3ff", "#b39df5", "#c9a68c"];
  const named = new Map();

  const palette = () => (dark.matches ? bright : light);
  const nth = (number) => palette()[number % light.length];
  const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

  function of(name) {
    if (name === "base" || name.endsWith(": base")) return style("--soft");
    if (!named.has(name)) named.set(name, named.size);
    return nth(named.get(name));
  }

  function faded(colour, share) {
    const [r, g, b] = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    return `rgba(${r},${g},${b},${share})`;
  }

  benchReport.summary.methods.forEach(of);
  return { of, nth, style, faded, onchange: (act) => dark.addEventListener("change", act) };
})();
