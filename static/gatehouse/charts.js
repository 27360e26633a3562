/* Draws each .gh-plot from the table inside it: picture and numbers are one source. Colours are read from the swatches of the legend,
   so every theme has its own. Dragging over a stretch opens the addresses of its rows as one range. Needs vendor/uplot.min.js. */
"use strict";
(() => {
  const HEIGHT = 190, TICK_SPACE = 64, BAR = 0.7;
  const drawn = [];

  function read(root) {
    const rows = [...root.querySelectorAll("tbody tr")];
    const number = (cell) => (cell.value === "" ? null : Number(cell.value));
    return {
      bars: root.dataset.plot === "bars",
      unit: root.dataset.unit,
      names: [...root.querySelectorAll("thead th")].slice(1).map((cell) => cell.textContent),
      labels: rows.map((row) => row.querySelector("th").textContent),
      links: rows.map((row) => row.querySelector("th a")?.href),
      words: rows.map((row) => [...row.querySelectorAll("data")].map((cell) => cell.textContent)),
      values: rows.map((row) => [...row.querySelectorAll("data")].map(number)),
    };
  }

  function compact(value) {
    for (const [size, suffix] of [[1e12, "T"], [1e9, "G"], [1e6, "M"], [1e3, "k"]])
      if (Math.abs(value) >= size) return `${+(value / size).toPrecision(3)}${suffix}`;
    return `${+value.toPrecision(3)}`;
  }

  /* Bars stand on each other: each series is drawn with all below it, the highest first, and the lower ones cover it. */
  function columns(table) {
    const indices = table.labels.map((_, index) => index);
    if (!table.bars) return [indices, ...table.names.map((_, one) => table.values.map((row) => row[one]))];
    const stacked = table.names.map((_, one) =>
      table.values.map((row) => row.slice(0, one + 1).reduce((sum, value) => sum + (value ?? 0), 0)));
    return [indices, ...stacked.reverse()];
  }

  function alone(plot, series) {
    const values = plot.data[series];
    return values.flatMap((value, index) =>
      value !== null && (values[index - 1] ?? null) === null && (values[index + 1] ?? null) === null ? [index] : []);
  }

  function options(root, table, canvas) {
    const swatches = [...root.querySelectorAll(".gh-legend rect")];
    const style = () => getComputedStyle(canvas);
    const axis = { stroke: () => style().color, font: `11px ${style().fontFamily}`, ticks: { show: false } };
    const margin = table.bars ? 0.6 : 0.2;
    const one = (name, index) => {
      const colour = () => getComputedStyle(swatches[index]).fill;
      if (table.bars) return { label: name, fill: colour, width: 0, points: { show: false }, paths: uPlot.paths.bars({ size: [BAR, 60] }) };
      return { label: name, stroke: colour, width: 2, points: { show: true, filter: alone, size: 6, fill: colour, stroke: colour } };
    };
    const series = table.names.map(one);
    return {
      width: canvas.clientWidth,
      height: HEIGHT,
      legend: { show: false },
      padding: [8, 18, 0, 0],
      series: [{}, ...(table.bars ? series.reverse() : series)],
      scales: {
        x: { time: false, range: () => [-margin, table.labels.length - 1 + margin] },
        y: { range: (_, low, high) => [0, uPlot.rangeNum(0, high || 1, { min: { pad: 0, soft: 0, mode: 1 }, max: { pad: 0.05, soft: 0, mode: 0 } })[1]] },
      },
      axes: [
        {
          ...axis, grid: { show: false }, size: 28, space: TICK_SPACE,
          incrs: [1, 2, 3, 4, 6, 7, 12, 14, 24, 30],
          values: (_, places) => places.map((place) => table.labels[place] ?? ""),
        },
        {
          ...axis, grid: { stroke: () => style().borderTopColor, width: 1 }, size: 44, space: 34,
          incrs: table.unit ? undefined : [1, 2, 2.5, 5].flatMap((step) => Array.from({ length: 15 }, (_, power) => step * 10 ** power)).filter(Number.isInteger).sort((a, b) => a - b),
          values: (_, places) => places.map(compact),
        },
      ],
      cursor: { y: false, points: { show: !table.bars }, drag: { x: true, y: false, setScale: false, dist: 6 } },
      hooks: { setCursor: [(plot) => say(root, table, plot.cursor.idx)], setSelect: [(plot) => zoom(table, plot)] },
    };
  }

  function say(root, table, index) {
    const words = table.words[index]?.map((text, one) => `${table.names[one]} ${text}`).join(", ");
    root.querySelector(".gh-plot__read").textContent = words ? `${table.labels[index]}: ${words}` : "\u00a0";
  }

  function zoom(table, plot) {
    const { left, width } = plot.select;
    if (width < 1) return;
    const row = (pixel) => Math.max(0, Math.min(table.labels.length - 1, Math.round(plot.posToVal(pixel, "x"))));
    const [first, last] = [table.links[row(left)], table.links[row(left + width)]];
    plot.setSelect({ left: 0, top: 0, width: 0, height: 0 }, false);
    if (!first || !last) return;
    const address = new URL(first);
    address.searchParams.set("to", new URL(last).searchParams.get("to"));
    location.assign(address);
  }

  const fit = new ResizeObserver((entries) => entries.forEach(({ target, contentRect }) => {
    if (contentRect.width) drawn.find(({ canvas }) => canvas === target)?.plot.setSize({ width: contentRect.width, height: HEIGHT });
  }));

  document.querySelectorAll(".gh-plot").forEach((root) => {
    const canvas = root.querySelector(".gh-plot__canvas"), table = read(root);
    const plot = new uPlot(options(root, table, canvas), columns(table), canvas);
    drawn.push({ canvas, plot });
    fit.observe(canvas);
  });

  /* Another theme has other colours: they are read again. */
  const redraw = () => drawn.forEach(({ plot }) => plot.redraw(true, true));
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["class"] });
  document.fonts?.ready.then(redraw);
})();
