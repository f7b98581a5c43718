// The samples: questions on the left, one of them with the answers of one run or two on the right.
"use strict";

benchReport.readers.samples = (place) => {
  const { evals } = benchReport.summary;
  const FILTERS = {
    wrong: "wrong", right: "right", truncated: "truncated", "no-answer": "no answer",
    disagree: "graders disagree", errors: "not graded cleanly",
  };
  const ORDERS = { asked: "as asked", hard: "hardest first", easy: "easiest first", apart: "runs furthest apart", long: "longest first" };
  const { chosen } = address();
  const state = {
    run: byName(chosen.get("run")) ?? 0, beside: byName(chosen.get("with")), task: chosen.get("task") || "",
    filters: new Set((chosen.get("show") || "").split(",").filter((f) => f in FILTERS)), order: chosen.get("order") || "asked",
    words: chosen.get("find") || "", question: chosen.get("question"), sample: Number(chosen.get("sample") || 0),
  };
  let runs = []; // of the one or two that are shown: [{name, tasks}]
  let found = []; // questions that the filters let through
  let drawing = 0;

  function byName(name) {
    const at = evals.findIndex((e) => e.name === name);
    return at < 0 ? null : at;
  }

  // ---- data ----
  // A run's questions by task and name, with where their samples stand in the columns.
  async function read(number) {
    const tasks = await benchReport.load(evals[number].file);
    return { name: evals[number].name, tasks: new Map(tasks.map((t) => [t.task, indexed(t)])) };
  }

  function indexed(task) {
    if (task.places) return task;
    const places = new Map();
    const decides = task.correct[task.grader] || "";
    const graders = Object.values(task.correct);
    const flags = { right: [], disagree: [] };
    for (let i = 0; i < task.samples.length; i++) {
      const letter = decides[i];
      flags.right.push(letter === "1");
      flags.disagree.push(graders.some((g) => g[i] !== "-" && letter !== "-" && g[i] !== letter));
    }
    let start = 0;
    task.uids.forEach((uid, number) => {
      const end = start + task.counts[number];
      places.set(uid, { number, start, end });
      start = end;
    });
    return Object.assign(task, { places, flags });
  }

  const passes = {
    wrong: (t, i) => t.correct[t.grader]?.[i] === "0",
    right: (t, i) => t.flags.right[i],
    truncated: (t, i) => t.finish[i] === "l",
    "no-answer": (t, i) => t.status[i] === "n",
    disagree: (t, i) => t.flags.disagree[i],
    errors: (t, i) => "ptc?".includes(t.status[i]),
  };

  function matches(task, i) {
    for (const filter of state.filters) if (!passes[filter](task, i)) return false;
    return true;
  }

  function share(task, at) {
    let right = 0;
    for (let i = at.start; i < at.end; i++) right += task.flags.right[i] ? 1 : 0;
    return { right, of: at.end - at.start };
  }

  function longest(task, at) {
    return Math.max(-1, ...task.tokens.slice(at.start, at.end));
  }

  function filter() {
    const began = performance.now();
    const words = state.words.toLowerCase();
    found = [];
    let samples = 0;
    for (const [name, task] of runs[0].tasks) {
      if (state.task && state.task !== name) continue;
      for (const [uid, at] of task.places) {
        if (words && !hasWords(task, uid, at, words)) continue;
        const sides = runs.map((run) => side(run, name, uid)).filter(Boolean);
        const hits = sides.map((s) => count(s));
        const hit = hits.reduce((a, b) => a + b, 0);
        if (!hit && (state.filters.size || !sides.some((s) => s.at.end > s.at.start))) continue;
        samples += hit;
        found.push({ name, uid, sides: runs.map((run) => side(run, name, uid)) });
      }
    }
    sort();
    place.dataset.filtered = (performance.now() - began).toFixed(1);
    counted.textContent = `${found.length.toLocaleString("en")} questions, ${samples.toLocaleString("en")} samples`;
  }

  function side(run, name, uid) {
    const task = run.tasks.get(name);
    const at = task?.places.get(uid);
    if (!at) return null;
    return { task, at, ...share(task, at) };
  }

  function count({ task, at }) {
    let hits = 0;
    for (let i = at.start; i < at.end; i++) hits += matches(task, i) ? 1 : 0;
    return hits;
  }

  function hasWords(task, uid, at, words) {
    if (uid.toLowerCase().includes(words) || task.golds[at.number].toLowerCase().includes(words)) return true;
    if (task.asked_texts?.[at.number]?.toLowerCase().includes(words)) return true;
    for (let i = at.start; i < at.end; i++) {
      if (task.answer[i] >= 0 && task.answers[task.answer[i]].toLowerCase().includes(words)) return true;
    }
    return false;
  }

  function sort() {
    const mean = (side) => (side && side.of ? side.right / side.of : 0);
    const keys = {
      hard: (q) => mean(q.sides[0]), easy: (q) => -mean(q.sides[0]),
      apart: (q) => -Math.abs(mean(q.sides[0]) - mean(q.sides[1])),
      long: (q) => -longest(q.sides[0].task, q.sides[0].at),
    };
    const key = keys[state.order];
    if (!key) return;
    const by = new Map(found.map((q) => [q, key(q)]));
    found.sort((a, b) => by.get(a) - by.get(b));
  }

  // ---- the list ----
  function strip(side) {
    const out = make("span", { class: "strip" });
    if (!side) return out;
    for (let i = side.at.start; i < side.at.end && i < side.at.start + 64; i++) {
      out.append(make("i", { class: mark(side.task, i) + (matches(side.task, i) ? "" : " off") }));
    }
    return out;
  }

  function mark(task, i) {
    if (task.flags.right[i]) return "right";
    if (task.finish[i] === "l") return "cut";
    return task.status[i] === "n" ? "blank" : "wrong";
  }

  const score = (side) => (side ? `${side.right}/${side.of}` : "–");

  function row(question) {
    const head = make("span", { class: "head" }, make("b", {}, question.uid), make("span", { class: "score" }, question.sides.map(score).join("  ·  ")));
    return [head, ...question.sides.map(strip)];
  }

  const list = new LongList(58, row, (at, opened) => {
    state.question = key(found[at]);
    state.sample = firstMatch(found[at]);
    if (opened) place.classList.add("reading");
    open();
  }, "Questions");
  list.place.id = "questions";

  const key = (question) => `${question.name}/${question.uid}`;

  function firstMatch(question) {
    const side = question.sides[0];
    for (let i = side.at.start; i < side.at.end; i++) if (matches(side.task, i)) return i - side.at.start;
    return 0;
  }

  // ---- one question ----
  async function open() {
    const turn = ++drawing;
    remember();
    const question = found[list.at];
    if (!question) {
      detail.replaceChildren(make("p", { class: "empty" }, "No sample passes these filters."));
      return;
    }
    try {
      const parts = await Promise.all(question.sides.map((side, at) => (side ? answer(side, at) : null)));
      const asked = await questionText(question);
      if (turn !== drawing) return; // the reader went on meanwhile
      const at = question.sides[0].at.number;
      const gold = make("p", { class: "gold" }, make("b", {}, "Gold answer "), texts.show(question.sides[0].task.golds[at], { class: "inline" }));
      detail.replaceChildren(
        back(), make("h2", {}, question.uid, make("small", {}, question.name)), ...asked, gold,
        make("div", { class: `sides of${parts.length}` }, ...parts.map((part, n) => part || absent(n))),
      );
      detail.dataset.shown = `${question.uid}/${state.sample}`;
    } catch (error) {
      detail.replaceChildren(back(), make("p", { class: "notice" }, error.message));
    }
  }

  const absent = (at) => make("article", {}, make("h3", {}, runs[at].name), make("p", { class: "empty" }, "This run was not asked this question."));
  const back = () => make("button", { type: "button", class: "back", onclick: () => place.classList.remove("reading") }, "← questions");

  async function questionText({ sides }) {
    const { task, at } = sides[0];
    if (!task.question_texts) return [make("p", { class: "empty" }, "The run did not keep the text of the question.")];
    const asked = await benchReport.load(task.question_texts);
    const parts = [texts.show(asked.texts[at.number] || "", { class: "question" })];
    const options = asked.options[at.number];
    if (options) parts.push(make("ol", { class: "options", type: "A" }, ...options.map((o) => make("li", {}, texts.show(o)))));
    return parts;
  }

  async function answer(side, number) {
    const { task, at } = side;
    const total = at.end - at.start;
    const article = make("article", { "data-side": number });
    article.append(make("h3", {}, runs[number].name, make("span", { class: "score" }, `${side.right} of ${side.of} right`)), picks(side));
    if (!total) return article;
    const i = at.start + Math.min(state.sample, total - 1);
    article.append(facts(task, i));
    const text = await textOf(task, at, i - at.start);
    article.append(texts.show(text, { class: "completion" }));
    return article;
  }

  async function textOf(task, at, sample) {
    let [chunk, first] = [0, 0];
    while (at.number >= first + task.chunks[chunk]) first += task.chunks[chunk++];
    const held = await benchReport.load(`${task.texts}-${chunk}`);
    return held[at.number - first][sample];
  }

  function picks({ task, at }) {
    const out = make("div", { class: "picks", role: "group", "aria-label": "Samples" });
    for (let i = at.start; i < at.end; i++) {
      const sample = i - at.start;
      out.append(make("button", {
        type: "button", class: mark(task, i) + (matches(task, i) ? "" : " off"), "aria-pressed": String(sample === Math.min(state.sample, at.end - at.start - 1)),
        "aria-label": `sample ${task.samples[i]}, ${words(task, i)}`, onclick: () => { state.sample = sample; open(); },
      }, String(task.samples[i])));
    }
    return out;
  }

  const STATUS = { o: "", n: "no answer", p: "answer not readable", t: "grader ran out of time", c: "grader crashed", "?": "not graded" };

  function words(task, i) {
    const parts = [task.flags.right[i] ? "right" : "wrong"];
    if (task.finish[i] === "l") parts.push("cut at the token limit");
    if (STATUS[task.status[i]]) parts.push(STATUS[task.status[i]]);
    return parts.join(", ");
  }

  function facts(task, i) {
    const answered = task.answer[i] < 0 ? "–" : task.answers[task.answer[i]];
    const tokens = task.tokens[i] < 0 ? "" : `, ${task.tokens[i].toLocaleString("en")} tokens`;
    const out = make("p", { class: "facts" }, make("span", { class: `verdict ${mark(task, i)}` }, words(task, i)), tokens, "; answer ", make("code", {}, answered));
    const others = Object.entries(task.correct).filter(([name]) => name !== task.grader);
    for (const [name, of] of others) {
      const verdict = { 1: "right", 0: "wrong", "-": "not graded" }[of[i]];
      out.append(make("span", { class: of[i] === task.correct[task.grader]?.[i] ? "grader" : "grader differs" }, `${name}: ${verdict}`));
    }
    return out;
  }

  // ---- controls ----
  const option = (value, text, selected) => make("option", { value, selected }, text);
  function select(label, options, value, act) {
    const box = make("select", { "aria-label": label, onchange: () => act(box.value) }, ...options.map(([v, t]) => option(v, t, v === value)));
    return make("label", {}, label, box);
  }

  const counted = make("p", { class: "counted", role: "status" });
  const detail = make("div", { class: "detail", tabindex: "-1" });
  const chips = make("div", { class: "chips", role: "group", "aria-label": "Filters" }, ...Object.entries(FILTERS).map(([name, text]) =>
    make("button", { type: "button", "data-filter": name, "aria-pressed": String(state.filters.has(name)), onclick: (event) => toggle(name, event.currentTarget) }, text)));
  const search = make("input", { type: "search", placeholder: "name, answer, words of the question", "aria-label": "Search", value: state.words });
  let typing;
  search.addEventListener("input", () => {
    clearTimeout(typing);
    typing = setTimeout(() => { state.words = search.value; refresh(); }, 120);
  });
  const tasks = make("select", { "aria-label": "Benchmark", onchange: () => { state.task = tasks.value; refresh(); } });
  const names = evals.map((e, n) => [String(n), e.name]);
  const controls = make("div", { class: "controls" },
    select("Run", names, String(state.run), (v) => { state.run = Number(v); reload(); }),
    evals.length > 1 ? select("beside", [["", "no other"], ...names], state.beside === null ? "" : String(state.beside), (v) => { state.beside = v === "" ? null : Number(v); reload(); }) : null,
    make("label", {}, "Benchmark", tasks),
    select("Order", Object.entries(ORDERS), state.order, (v) => { state.order = v; refresh(); }),
    make("label", { class: "search" }, "Find", search), chips);
  place.append(controls, counted, make("div", { class: "split" }, list.place, detail));

  function toggle(name, button) {
    const opposite = { wrong: "right", right: "wrong" }[name];
    if (state.filters.delete(name) === false) state.filters.add(name);
    if (opposite && state.filters.delete(opposite)) chips.querySelector(`[data-filter=${opposite}]`).setAttribute("aria-pressed", "false");
    button.setAttribute("aria-pressed", String(state.filters.has(name)));
    refresh();
  }

  function remember() {
    setAddress("samples", {
      run: evals[state.run].name, with: state.beside === null ? "" : evals[state.beside].name, task: state.task, show: [...state.filters].join(","),
      order: state.order === "asked" ? "" : state.order, find: state.words, question: state.question, sample: state.sample ? String(state.sample) : "",
    });
  }

  // Filters run again over what is loaded; the question stays where it passes them.
  function refresh() {
    filter();
    const kept = found.findIndex((q) => key(q) === state.question);
    list.show(found, kept);
    const at = found[list.at];
    if (kept < 0 && at) [state.question, state.sample] = [key(at), firstMatch(at)];
    open();
  }

  async function reload() {
    counted.textContent = "loading …";
    try {
      const wanted = [state.run, ...(state.beside === null ? [] : [state.beside])];
      runs = await Promise.all(wanted.map(read));
      place.classList.toggle("two", runs.length > 1);
      const known = [...runs[0].tasks.keys()];
      if (!known.includes(state.task)) state.task = "";
      tasks.replaceChildren(option("", "all", !state.task), ...known.map((t) => option(t, t, t === state.task)));
      refresh();
      place.dataset.ready = "yes";
      withQuestions();
    } catch (error) {
      counted.textContent = error.message;
    }
  }

  // The words of questions can be searched once they are there; nothing waits for them.
  async function withQuestions() {
    for (const task of runs[0].tasks.values()) {
      if (task.question_texts) task.asked_texts = (await benchReport.load(task.question_texts)).texts;
    }
  }

  function step(by) {
    list.pick(list.at + by);
  }

  function turn(by) {
    const question = found[list.at];
    if (!question) return;
    const total = Math.max(...question.sides.map((s) => (s ? s.at.end - s.at.start : 0)));
    state.sample = Math.max(0, Math.min(total - 1, state.sample + by));
    open();
  }

  // The next sample that the filters let through, over the end of a question into the next.
  function next() {
    const question = found[list.at];
    if (!question) return;
    const { task, at } = question.sides[0];
    for (let sample = state.sample + 1; sample < at.end - at.start; sample++) {
      if (matches(task, at.start + sample)) { state.sample = sample; open(); return; }
    }
    if (list.at + 1 < found.length) step(1);
  }

  reload();
  return {
    j: () => step(1), k: () => step(-1), ArrowDown: () => step(1), ArrowUp: () => step(-1), PageDown: () => step(8), PageUp: () => step(-8),
    l: () => turn(1), h: () => turn(-1), ArrowRight: () => turn(1), ArrowLeft: () => turn(-1), n: next,
    m: () => { texts.toggle(); open(); }, "/": () => search.focus(), Escape: () => place.classList.remove("reading"), Enter: () => place.classList.add("reading"),
  };
};
