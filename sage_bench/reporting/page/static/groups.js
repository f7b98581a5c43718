// Groups of training, to be read: the prompt, its hint, and every completion with its reward.
"use strict";

benchReport.readers.groups = (place) => {
  const { trains } = benchReport.summary;
  const KINDS = { rescued: "rescued by a hint", hinted: "with a hint", mixed: "right and wrong", wrong: "all wrong", all: "all" };
  const keeps = {
    rescued: (g) => g.level > 0 && g.right > 0, hinted: (g) => g.level > 0,
    mixed: (g) => g.right > 0 && g.right < g.of, wrong: (g) => g.right === 0, all: () => true,
  };
  const state = { run: 0, kind: "rescued", completion: 0 };
  let groups = [];
  let found = [];
  let drawing = 0;

  const counted = make("p", { class: "counted", role: "status" });
  const detail = make("div", { class: "detail", tabindex: "-1" });
  const list = new LongList(46, row, (at, opened) => {
    state.completion = 0;
    if (opened) place.classList.add("reading");
    open();
  }, "Groups");
  list.place.id = "groups";

  function row(group) {
    const dots = make("span", { class: "strip" });
    for (let i = 0; i < group.of; i++) dots.append(make("i", { class: i < group.right ? "right" : "wrong" }));
    const level = group.level ? `hint level ${group.level}` : "no hint";
    return [make("span", { class: "head" }, make("b", {}, `step ${group.step}`), make("span", { class: "name" }, group.uid), make("span", { class: "score" }, level)), dots];
  }

  async function open() {
    const turn = ++drawing;
    const group = found[list.at];
    if (!group) {
      detail.replaceChildren(make("p", { class: "empty" }, "The run kept no such group."));
      return;
    }
    try {
      const held = await benchReport.load(`${trains[state.run].file}/${group.chunk}`);
      if (turn !== drawing) return;
      detail.replaceChildren(...content(group, held[group.row]));
      detail.dataset.shown = `${group.step}/${group.uid}`;
    } catch (error) {
      detail.replaceChildren(back(), make("p", { class: "notice" }, error.message));
    }
  }

  const back = () => make("button", { type: "button", class: "back", onclick: () => place.classList.remove("reading") }, "← groups");

  function content(group, texts_of) {
    const parts = [back(), make("h2", {}, `Step ${group.step}`, make("small", {}, `${group.uid}, ${group.right} of ${group.of} right`))];
    if (texts_of.hint) parts.push(make("h3", {}, `Hint, level ${group.level}`), texts.show(texts_of.hint, { class: "hint" }));
    parts.push(make("details", { open: !texts_of.hint }, make("summary", {}, "Prompt"), texts.show(texts_of.prompt, { class: "question" })));
    parts.push(make("p", { class: "gold" }, make("b", {}, "Gold answer "), texts.show(texts_of.answer, { class: "inline" })));
    texts_of.completions.forEach((completion, number) => {
      const right = completion.reward > 0;
      const cut = completion.finish === "length" ? ", cut at the token limit" : "";
      const verdict = make("p", { class: "facts" }, make("b", {}, `Completion ${number + 1} `), make("span", { class: `verdict ${right ? "right" : "wrong"}` }, `reward ${completion.reward}${cut}`));
      parts.push(make("article", {}, verdict, texts.show(completion.text, { class: "completion" })));
    });
    return parts;
  }

  function refresh() {
    found = groups.filter(keeps[state.kind]);
    counted.textContent = `${found.length.toLocaleString("en")} of ${groups.length.toLocaleString("en")} groups that the run kept`;
    list.show(found, 0);
    open();
  }

  async function reload() {
    try {
      groups = await benchReport.load(trains[state.run].file);
      if (!groups.some(keeps[state.kind])) state.kind = "all";
      kinds.value = state.kind;
      refresh();
      place.dataset.ready = "yes";
    } catch (error) {
      counted.textContent = error.message;
    }
  }

  const run = make("select", { "aria-label": "Training run", onchange: () => { state.run = Number(run.value); reload(); } },
    ...trains.map((t, n) => make("option", { value: n }, t.name)));
  const kinds = make("select", { "aria-label": "Groups shown", onchange: () => { state.kind = kinds.value; refresh(); } },
    ...Object.entries(KINDS).map(([value, text]) => make("option", { value }, text)));
  const firstHinted = trains.findIndex((t) => t.hinted);
  state.run = Math.max(0, firstHinted);
  run.value = String(state.run);
  place.append(make("h2", {}, "Groups to read"),
    make("div", { class: "controls" }, make("label", {}, "Training run", run), make("label", {}, "Groups", kinds)),
    counted, make("div", { class: "split" }, list.place, detail));
  reload();

  const step = (by) => list.pick(list.at + by);
  return {
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1),
    m: () => { texts.toggle(); open(); }, Escape: () => place.classList.remove("reading"), Enter: () => place.classList.add("reading"),
  };
};
