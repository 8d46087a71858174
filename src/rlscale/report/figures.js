/* Draws the figures from the page's data, and lets mouse, touch and keyboard ask them the same things. */
"use strict";

const Figures = (() => {
  const data = JSON.parse(document.getElementById("figure-data").textContent);
  const FONT = { family: '"Source Sans 3", "Helvetica Neue", Arial, sans-serif', size: 13, color: "#1d2327" };
  const AXIS = { automargin: true, gridcolor: "#e6e9eb", linecolor: "#7b858c", zeroline: false, ticks: "outside", exponentformat: "power", title: { standoff: 8 } };
  const CONFIG = { displayModeBar: false, responsive: true, scrollZoom: false, doubleClick: "reset", showTips: false };

  function layoutOf(figure) {
    const isNarrow = window.innerWidth < 640;
    const merged = (own) => ({ ...AXIS, ...own, title: { ...AXIS.title, ...own.title } });
    return {
      ...figure.layout,
      font: FONT,
      xaxis: merged(figure.layout.xaxis),
      yaxis: merged(figure.layout.yaxis),
      margin: { l: 60, r: 12, t: 12, b: 50 },
      showlegend: false,
      hovermode: "closest",
      hoverdistance: 12,
      // A finger that scrolls the page over a figure must not zoom it; the buttons do.
      dragmode: isNarrow ? false : "zoom",
      hoverlabel: { bgcolor: "#fff", bordercolor: "#50585e", font: FONT, align: "left", namelength: -1 },
      paper_bgcolor: "#fff",
      plot_bgcolor: "#fff",
    };
  }

  /* Say which point it is below the figure, with a link to its record. */
  function tell(plot, point) {
    const said = document.getElementById(`${plot.dataset.figure}-point`);
    const { run, record } = point.data.meta || {};
    const name = point.data.name && run ? run : run || "";
    const parts = [name, point.text, `x = ${PythonText.general(Number(point.x), 4)}`, `y = ${PythonText.general(Number(point.y), 4)}`];
    said.textContent = parts.filter((part) => part && !String(part).endsWith("nan")).join(" · ");
    if (record) {
      const link = document.createElement("a");
      link.href = record;
      link.textContent = `record of ${run}`;
      said.append(" · ", link);
    }
  }

  /* Arrows walk over the points that are shown. */
  function walk(plot) {
    const at = { curve: 0, point: -1 };
    plot.addEventListener("keydown", (event) => {
      const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
      const step = steps[event.key];
      if (!step) return;
      event.preventDefault();
      const asked = plot.data
        .map((trace, curve) => ({ trace, curve }))
        .filter(({ trace }) => trace.hoverinfo !== "skip" && trace.visible !== false);
      if (!asked.length) return;
      const now = Math.max(0, asked.findIndex(({ curve }) => curve === at.curve));
      const next = asked[(now + step[0] + asked.length) % asked.length];
      const count = next.trace.x.length;
      at.point = step[0] ? Math.min(Math.max(at.point, 0), count - 1) : (Math.max(at.point, step[1] > 0 ? -1 : 0) + step[1] + count) % count;
      at.curve = next.curve;
      const { trace } = next;
      try {
        Plotly.Fx.hover(plot, [{ curveNumber: at.curve, pointNumber: at.point }]);
      } finally {
        const text = Array.isArray(trace.text) ? trace.text[at.point] : "";
        tell(plot, { data: trace, x: trace.x[at.point], y: trace.y[at.point], text });
      }
    });
  }

  function zoom(plot, factor) {
    const change = {};
    for (const name of ["xaxis", "yaxis"]) {
      if (factor === null) {
        change[`${name}.autorange`] = true;
        continue;
      }
      const [low, high] = plot._fullLayout[name].range;
      const middle = (low + high) / 2;
      const half = ((high - low) / 2) * factor;
      change[`${name}.range`] = [middle - half, middle + half];
    }
    Plotly.relayout(plot, change);
  }

  function wire(plot) {
    const figure = plot.closest("figure");
    plot.on("plotly_hover", ({ points }) => tell(plot, points[0]));
    plot.on("plotly_click", ({ points }) => tell(plot, points[0]));
    walk(plot);
    for (const button of figure.querySelectorAll("[data-zoom]")) {
      const factor = { in: 0.6, out: 1 / 0.6, reset: null }[button.dataset.zoom];
      button.addEventListener("click", () => zoom(plot, factor));
    }
    for (const box of figure.querySelectorAll("[data-log]")) {
      box.addEventListener("change", () => {
        const name = box.dataset.log;
        Plotly.relayout(plot, { [`${name}.type`]: box.checked ? "log" : "linear", [`${name}.autorange`]: true });
      });
    }
    for (const box of figure.querySelectorAll("[data-group]")) {
      box.addEventListener("change", () => {
        const own = plot.data.flatMap((trace, at) => (trace.legendgroup === box.dataset.group ? [at] : []));
        Plotly.restyle(plot, { visible: box.checked }, own);
      });
    }
  }

  function draw(plot) {
    if (plot.dataset.drawn) return;
    plot.dataset.drawn = "yes";
    const figure = data[plot.dataset.figure];
    Plotly.newPlot(plot, figure.traces, layoutOf(figure), CONFIG);
    wire(plot);
  }

  // Those in view at once, the others one by one while the browser has nothing else to do, all before printing.
  const plots = [...document.querySelectorAll(".plot[data-figure]")];
  const idle = window.requestIdleCallback || ((work) => setTimeout(work, 30));
  const seen = new IntersectionObserver(
    (entries) => entries.filter((entry) => entry.isIntersecting).forEach((entry) => draw(entry.target)),
    { rootMargin: "300px" },
  );
  plots.forEach((plot) => seen.observe(plot));
  function drawNext() {
    const next = plots.find((plot) => !plot.dataset.drawn);
    if (!next) {
      document.body.dataset.ready = "yes";
      performance.mark("figures");
      return;
    }
    draw(next);
    idle(drawNext);
  }
  window.addEventListener("load", () => idle(drawNext));
  window.addEventListener("beforeprint", () => plots.forEach(draw));
  return { data };
})();
