// Shows texts that models wrote. They become text nodes, and mathematics in them is set by KaTeX
// without trust: no HTML, link, image or script of a completion ever takes effect.
"use strict";

const texts = (() => {
  const LONGEST = 60000; // characters with mathematics; a longer text is shown as it is
  const options = {
    delimiters: [
      { left: "$$", right: "$$", display: true },
      { left: "\\[", right: "\\]", display: true },
      { left: "\\(", right: "\\)", display: false },
      { left: "$", right: "$", display: false },
    ],
    trust: false, strict: "ignore", maxExpand: 200, maxSize: 20,
    errorCallback: () => {}, // what KaTeX cannot read stays as it was written
  };
  let math = true;

  async function prepare() {
    if (!document.getElementById("katex-style")) {
      document.head.append(make("link", { id: "katex-style", rel: "stylesheet", href: `${benchReport.summary.files}/katex.css` }));
    }
    await benchReport.library("katex.min.js");
    await benchReport.library("auto-render.min.js");
  }

  // An element with the text; `mathematics` sets it once KaTeX is there.
  function show(text, attributes = {}) {
    const place = make("div", { ...attributes, class: `text ${attributes.class || ""}` });
    place.textContent = text;
    if (math && text.length <= LONGEST && /\\|\$/.test(text)) {
      prepare().then(() => renderMathInElement(place, options)).catch((error) => console.warn(error.message));
    }
    return place;
  }

  return { show, get math() { return math; }, toggle: () => { math = !math; return math; } };
})();
