/* The plan as lines and tables: src/rlscale/cli_plan_tables.py once more. */
"use strict";

const PlanTables = (() => {
  const { fixed, general, percent, short } = PythonText;
  const { constants } = Replicates;

  function interval(value) {
    if (value === null) return "-";
    const [estimate, low, high] = [value.estimate, value.low, value.high].map((end) => (end === null ? "open" : short(end)));
    return `${estimate} [${low}, ${high}]`;
  }

  function beyond(row) {
    if (row.decades_beyond === null) return "never reached";
    return row.decades_beyond > 0 ? `${fixed(row.decades_beyond, 2)} decades beyond` : "";
  }

  const named = (row, cells) => [short(row.params) + (row.fitted ? "" : " (modelled)"), ...cells, percent(row.share)];

  function hardwareText(found) {
    if (found.peak === null) return "hardware: none stated (--gpu, --price), so no hours and no cost";
    const price = found.price === null ? "" : `, ${general(found.price)} a GPU-hour`;
    return (
      `hardware: ${found.gpus} × ${found.name || "GPU"}, peak ${general(found.peak, 4)} FLOP/s at MFU ` +
      `${general(found.mfu)}${price}; the whole job is ${general(found.overhead)} times the law's FLOPs`
    );
  }

  function showTarget(found) {
    const columns = { compute: "FLOPs", total: "with serving", steps: "steps", samples: "samples", tau: "tau" };
    Object.assign(columns, { gpu_hours: "GPU-hours", days: "days", cost: "cost" });
    const isServed = found.sizes.some((row) => row.total.estimate !== row.compute.estimate);
    const shown = Object.keys(columns).filter(
      (key) => found.sizes.some((row) => row[key] !== null) && (isServed || key !== "total"),
    );
    const rows = found.sizes.map((row) => {
      const isFar = row.decades_beyond === null || row.decades_beyond > constants.most_decades;
      return [...named(row, shown.map((key) => (isFar ? "-" : interval(row[key])))), beyond(row)];
    });
    const heads = ["size", ...shown.map((key) => columns[key]), "cheapest in", ""];
    const with_ = found.best
      ? `, with ${short(found.best.params)} parameters (${percent(found.best.share)} of the replicates agree)`
      : "";
    return [
      { title: `test loss ${general(found.target)}: what each size needs`, heads, rows },
      `least: ${interval(found.least)} FLOPs${isServed ? " with serving" : ""}${with_}`,
    ];
  }

  function showBudget(found) {
    const spent = [["gpu_hours", "GPU-hours"], ["cost", "money"]]
      .filter(([name]) => found[name])
      .map(([name, unit]) => `, ${general(found[name], 4, true)} ${unit}`);
    const rows = found.sizes.map((row) => {
      const exact = ["compute", "steps", "samples", "tau"].map((key) =>
        row.loss === null || row[key] === null ? "-" : short(row[key]),
      );
      return [...named(row, [interval(row.loss), ...exact]), beyond(row)];
    });
    const { best } = found;
    return [
      {
        title: `budget ${general(found.flops, 3)} FLOPs${spent.join("")}: what each size makes of it`,
        heads: ["size", "loss", "FLOPs", "steps", "samples", "tau", "least loss in", ""],
        rows,
      },
      `best: ${short(best.params)} parameters, test loss ${interval(best.loss)} (${percent(best.share)} of the ` +
        `replicates agree); least loss of any size ${interval(found.least_loss)}`,
      {
        title: "frontier",
        heads: ["FLOPs", "best size", "loss", "agree", ""],
        rows: found.frontier.map(({ flops, best: own }) => [
          short(flops), short(own.params), interval(own.loss), percent(own.share), beyond(own),
        ]),
      },
    ];
  }

  function showReuse(found) {
    const said = `${fixed(found.unique_problems, 0, true)} unique problems, ${found.law}: `;
    const stops = found.stops_paying_at_tau;
    if (found.law === "saturating_reuse") {
      return [`${said}a sample is worth under a tenth of a new problem from tau ${interval(stops)} on`];
    }
    if (stops !== null) return [`${said}more reuse harms from tau ${interval(stops)} on`];
    return [`${said}no tau is known from which reuse stops paying`];
  }

  /* cli_terminal.FittedTable: a column without anything in it is not shown. */
  function filled({ title, heads, rows }) {
    const shown = [...heads.keys()].filter((at) => rows.some((row) => row[at] !== "" && row[at] !== "-"));
    const of = (cells) => shown.map((at) => cells[at]);
    return { title, heads: of(heads), rows: rows.map(of) };
  }

  /* cli_plan_tables.show_plan: lines of text, and tables with title, heads and rows. */
  function showPlan(plan) {
    const { fit } = plan;
    const parts = [
      `${fit.law}, X = ${fit.x}, ${fit.loss} loss, ${fit.points} points; ${percent(fit.level)} intervals of ` +
        `${fit.draws} replicates, seed ${fit.seed}`,
      hardwareText(plan.hardware),
    ];
    if (plan.target) parts.push(...showTarget(plan.target));
    if (plan.budget) parts.push(...showBudget(plan.budget));
    if (plan.reuse) parts.push(...showReuse(plan.reuse));
    if (plan.budget) {
      parts.push({
        title: "crossovers of neighbouring sizes (problems unlimited)",
        heads: ["smaller", "larger", "smaller leads below FLOPs", "cross where both were fitted in"],
        rows: plan.crossovers.map((one) => [
          short(one.smaller), short(one.larger), interval(one.compute), percent(one.share),
        ]),
      });
    }
    parts.push(...plan.flags.map((flag) => `caution: ${flag.text}`));
    return parts.map((part) => (typeof part === "string" ? part : filled(part)));
  }

  return { showPlan };
})();
