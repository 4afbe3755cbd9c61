"use strict";
(() => {
  // Colours that stay apart for colour-blind readers (Okabe and Ito), light enough for both themes.
  const COLOURS = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8a8a8a", "#b8a800", "#7a52c7"];
  const DASHES = [[], [8, 4], [2, 3]];
  const sections = JSON.parse(document.getElementById("data").textContent);
  const main = document.getElementById("results");
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();

  const add = (parent, tag, text) => {
    const element = document.createElement(tag);
    if (text !== undefined) element.textContent = text;
    parent.appendChild(element);
    return element;
  };
  const number = (value) => {
    if (value == null) return "";
    if (Math.abs(value) >= 1000) return value.toLocaleString("en", { maximumFractionDigits: 0 });
    return String(Number(value.toPrecision(3)));
  };
  const axis = (of, isX) => {
    const made = {
      label: of.label,
      stroke: colour("--ink"),
      grid: { stroke: colour("--line"), width: 1 },
      ticks: { stroke: colour("--line") },
      size: isX ? 44 : 70,
      values: (u, values) => values.map((v) => (v == null ? "" : number(v))),
    };
    if (of.ticks.length) {
      made.splits = (u, i, min, max) => of.ticks.map((t) => t[0]).filter((t) => t >= min && t <= max);
      made.filter = (u, splits) => splits;
      made.values = (u, values) => values.map((v) => (of.ticks.find((t) => t[0] === v) || [0, number(v)])[1]);
    } else if (of.logarithmic) {
      made.filter = (u, splits) =>
        splits.map((v) => (v > 0 && [1, 2, 5].includes(Number((v / 10 ** Math.floor(Math.log10(v) + 1e-9)).toPrecision(2))) ? v : null));
    }
    return made;
  };
  const draw = (chart, figure) => {
    // Amounts are seen from zero on.
    const fromZero = (u, min, max) => [0, max > 0 ? max * 1.05 : 1];
    const scale = (of) => (of.logarithmic ? { distr: 3, log: 10 } : {});
    const options = {
      width: Math.max(320, Math.min(figure.clientWidth || 960, 1100)),
      height: 320,
      scales: { x: { time: false, ...scale(chart.x) }, y: chart.y.logarithmic ? scale(chart.y) : { range: fromZero } },
      axes: [axis(chart.x, true), axis(chart.y, false)],
      series: [
        { label: chart.x.label, value: (u, v) => number(v) },
        ...chart.names.map((label, i) => ({
          label,
          stroke: COLOURS[i % COLOURS.length],
          width: chart.dots ? 0 : 2,
          dash: chart.dots ? [] : DASHES[Math.floor(i / COLOURS.length) % DASHES.length],
          points: { show: chart.dots || chart.columns[0].length < 30, size: 5, fill: COLOURS[i % COLOURS.length] },
          value: (u, v) => number(v),
        })),
      ],
    };
    // A logarithmic axis has no place for zero.
    const columns = chart.columns.map((column, i) =>
      (i === 0 ? chart.x : chart.y).logarithmic ? column.map((v) => (v > 0 ? v : null)) : column);
    return new uPlot(options, columns, figure);
  };

  const drawn = [];
  for (const section of sections) {
    const part = add(main, "section");
    add(part, "h2", section.title);
    add(part, "p", section.file);
    add(part, "pre", section.text);
    for (const chart of section.charts) {
      add(part, "h3", chart.title);
      add(part, "p", chart.summary);
      const figure = add(part, "figure");
      figure.setAttribute("role", "img");
      figure.setAttribute("aria-label", `${chart.title}. ${chart.summary}`);
      drawn.push([draw(chart, figure), figure]);
    }
  }
  addEventListener("resize", () => {
    for (const [plot, figure] of drawn) plot.setSize({ width: Math.max(320, Math.min(figure.clientWidth, 1100)), height: 320 });
  });
  document.documentElement.dataset.charts = String(drawn.length);
})();
