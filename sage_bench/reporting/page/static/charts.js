// Draws the charts that the summary describes, with Plotly.
"use strict";

const charts = (() => {
  const DASHES = ["solid", "dash", "dot", "dashdot"];
  const config = { displayModeBar: false, responsive: true, scrollZoom: false };
  const drawn = new Set();

  // Two lines of one colour (there are eight) differ in their dashes.
  const dash = (number) => DASHES[Math.floor(number / 8) % DASHES.length];

  function band(series, colour) {
    const at = series.x.map((_, i) => i).filter((i) => series.low[i] !== null);
    const back = [...at].reverse();
    return {
      x: [...at, ...back].map((i) => series.x[i]),
      y: [...at.map((i) => series.high[i]), ...back.map((i) => series.low[i])],
      fill: "toself", fillcolor: theme.faded(colour, 0.18), line: { width: 0 }, mode: "lines",
      hoverinfo: "skip", showlegend: false, legendgroup: series.name,
    };
  }

  function lines(chart) {
    return chart.series.flatMap((series, number) => {
      const colour = theme.of(series.name);
      const few = series.x.length < 30;
      const line = {
        x: series.x, y: series.y, name: series.name, legendgroup: series.name,
        mode: few ? "lines+markers" : "lines", connectgaps: true,
        line: { color: colour, width: 2, dash: dash(number) }, marker: { color: colour, size: 6 },
        customdata: series.x.map((_, i) => (series.low.length ? ` (${shown(series.low[i])} to ${shown(series.high[i])})` : "")),
        hovertemplate: "%{y:.4~g}%{customdata}",
      };
      return series.low.length ? [band(series, colour), line] : [line];
    });
  }

  const shown = (value) => (value === null ? "–" : Number(value.toPrecision(4)).toString());

  function bars(chart) {
    return chart.series.map((series, number) => ({
      type: "bar", x: series.x, y: series.y, name: series.name,
      marker: { color: theme.nth(number), line: { width: 0 } }, hovertemplate: "%{y:.1%}",
    }));
  }

  function points(chart) {
    const front = { x: chart.front.map((p) => p[0]), y: chart.front.map((p) => p[1]), name: "Pareto front",
      mode: "lines", line: { color: theme.style("--soft"), width: 1.5, dash: "dot", shape: "hv" }, hoverinfo: "skip" };
    const names = namePlaces(chart);
    const marks = chart.series.map((series, number) => ({
      x: series.x, y: series.y, name: series.name, text: series.labels, mode: "markers+text",
      textposition: names[number], textfont: { color: theme.style("--ink"), size: 12 }, cliponaxis: false,
      marker: { color: theme.of(series.name), size: 12 },
      error_y: errors(series), customdata: [series.about],
      hovertemplate: "%{x:,.4~s}, %{y:.1f} %%<br>%{customdata}",
    }));
    return [front, ...marks];
  }

  // Names stand away from the edge, and below a point whose neighbour has its name above.
  function namePlaces(chart) {
    const most = Math.max(...chart.series.map((s) => s.x[0])) || 1;
    const tall = chart.y_range[1] - chart.y_range[0];
    const near = (a, b) => Math.abs(a.x[0] - b.x[0]) < 0.3 * most && Math.abs(a.y[0] - b.y[0]) < 0.07 * tall;
    const places = [];
    chart.series.forEach((series, number) => {
      const crowded = chart.series.slice(0, number).some((other, n) => near(series, other) && places[n].startsWith("top"));
      places.push(`${crowded ? "bottom" : "top"} ${series.x[0] > 0.6 * most ? "left" : "right"}`);
    });
    return places;
  }

  function errors(series) {
    return { type: "data", symmetric: false, thickness: 1.5, width: 4, color: theme.of(series.name),
      array: series.high.map((v, i) => v - series.y[i]), arrayminus: series.low.map((v, i) => series.y[i] - v) };
  }

  // One row a method: the mean with its interval, and a small point for each training seed.
  function intervals(chart) {
    return chart.series.flatMap((series) => {
      const colour = theme.of(series.name);
      const [mean, low, high] = [series.y[0], series.low[0], series.high[0]];
      const whole = { x: [mean], y: [series.name], mode: "markers", marker: { color: colour, size: 12 },
        error_x: low === null ? undefined : { type: "data", symmetric: false, thickness: 2.5, width: 7, color: colour, array: [high - mean], arrayminus: [mean - low] },
        customdata: [[low === null ? "" : ` [${low.toFixed(1)}, ${high.toFixed(1)}]`, series.about]],
        hovertemplate: "%{x:.1f}%{customdata[0]}<br>%{customdata[1]}<extra>%{y}</extra>" };
      const seeds = { x: series.x, y: series.labels, mode: "markers", hovertemplate: "%{x:.1f}<extra>one seed</extra>",
        marker: { color: theme.style("--paper"), size: 7, line: { color: colour, width: 1.5 } } };
      return series.x.length > 1 ? [whole, seeds] : [whole];
    });
  }

  const kinds = { line: lines, bars, points, intervals };

  function layout(chart, place) {
    const [ink, grid] = [theme.style("--ink"), theme.style("--line")];
    const narrow = place.clientWidth < 500;
    const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true, fixedrange: narrow, title: { font: { size: 12 }, standoff: 8 } };
    const flat = chart.kind === "intervals";
    const out = {
      paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: ink, size: 12, family: "system-ui, sans-serif" },
      margin: { l: 56, r: 16, t: 8, b: 44 }, hovermode: chart.kind === "line" ? "x unified" : "closest",
      hoverlabel: { bgcolor: theme.style("--wash"), bordercolor: grid, font: { color: ink } },
      legend: { orientation: "h", traceorder: "normal", x: 0, y: 1.02, yanchor: "bottom" }, barmode: "stack", bargap: 0.1,
      showlegend: !flat && chart.kind !== "points" && chart.series.length > 0,
      xaxis: { ...axis, title: { ...axis.title, text: chart.x } },
      yaxis: { ...axis, title: { ...axis.title, text: chart.y } },
      dragmode: narrow ? false : "zoom",
    };
    if (chart.y_range) out.yaxis.range = chart.y_range;
    if (chart.log_x) Object.assign(out.xaxis, logTicks(chart));
    if (chart.kind === "points") Object.assign(out.xaxis, { range: spentRange(chart), tickformat: "~s" });
    if (flat) {
      Object.assign(out.yaxis, { autorange: "reversed", title: { text: "" }, ticklabelstandoff: 8 });
      out.margin.l = 8;
      out.height = 70 + 38 * chart.series.length;
    }
    return out;
  }

  // From 0 to the dearest point, with room for its name.
  function spentRange(chart) {
    const most = Math.max(...chart.series.map((s) => s.x[0])) || 1;
    return [-0.03 * most, 1.15 * most];
  }

  function logTicks(chart) {
    const most = Math.max(...chart.series.map((s) => s.x[s.x.length - 1]));
    const ticks = [];
    for (let k = 1; k <= most; k *= 2) ticks.push(k);
    return { type: "log", tickvals: ticks, ticktext: ticks.map(String), range: [-0.03, Math.log10(most) + 0.03] };
  }

  async function draw(place, chart) {
    await benchReport.library("plotly.min.js");
    await Plotly.react(place, kinds[chart.kind](chart), layout(chart, place), config);
    place.dataset.drawn = "yes";
  }

  function describe(figure) {
    const { summary } = benchReport;
    if (figure.dataset.chart) return { charts: { "": summary[figure.dataset.chart][figure.dataset.number] } };
    return summary.choices[figure.dataset.choice];
  }

  function picker(figure, names, show) {
    const place = figure.querySelector(".picker");
    if (!place || place.childElementCount || names.length < 2) return;
    for (const name of names) {
      place.append(make("button", { type: "button", "aria-pressed": "false", onclick: () => show(name) }, name));
    }
  }

  function redraw(figure) {
    const found = describe(figure);
    const names = Object.keys(found.charts);
    const show = (name) => {
      figure.dataset.shown = name;
      figure.querySelectorAll(".picker button").forEach((b) => b.setAttribute("aria-pressed", String(b.textContent === name)));
      return draw(figure.querySelector(".plot"), found.charts[name]);
    };
    picker(figure, names, show);
    drawn.add(figure);
    return show(figure.dataset.shown ?? names[0]);
  }

  // Charts of a page are drawn when it is first seen: a hidden one has no width.
  async function open(page) {
    for (const figure of page.querySelectorAll("figure[data-chart], figure[data-choice]")) {
      if (!drawn.has(figure)) await redraw(figure);
    }
  }

  theme.onchange(() => drawn.forEach((figure) => redraw(figure)));
  return { open };
})();
