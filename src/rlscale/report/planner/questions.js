/* What a target takes and a budget buys: src/rlscale/plan/target.py and budget.py once more. */
"use strict";

const Questions = (() => {
  const { finite, number, fromLog10, leastNumber, least, share, columnOf } = Replicates;

  const over = (compute, rate, unit) =>
    Number.isFinite(rate) ? number(compute.map((value) => value / rate), unit) : null;

  function planTarget(lines, target, { supply, inferenceTokens, overhead }) {
    const { rows, params, slope, level, first, last } = lines;
    const columns = params.length;
    const log10Loss = Math.log10(target);
    const compute = new Float64Array(rows * columns);
    const total = new Float64Array(rows * columns);
    const tau = supply ? new Float64Array(rows * columns) : null;
    for (let at = 0; at < compute.length; at += 1) {
      const column = at % columns;
      const row = (at - column) / columns;
      let needed = (level[at] - log10Loss) / slope[at];
      if (!(slope[at] > 0)) needed = level[at] <= log10Loss ? -Infinity : Infinity;
      compute[at] = fromLog10(Math.max(needed, first[column]));
      if (supply) {
        const samples = supply.needed(compute[at] / lines.flopsPerSample[column], row);
        compute[at] = samples * lines.flopsPerSample[column];
        tau[at] = Math.max(samples / supply.unique, 1.0);
      }
      total[at] = compute[at] + (2.0 * params[column] * inferenceTokens) / overhead;
    }
    const { best, which } = least(total, rows, columns);
    const sizes = params.map((size, column) => {
      const own = columnOf(compute, column, columns);
      const perStep = lines.flopsPerSample[column] * lines.samplesPerStep[column];
      const beyond = Number.isFinite(own[0]) ? Math.max(0.0, Math.log10(own[0]) - last[column]) : null;
      return {
        params: size,
        fitted: lines.fitted[column],
        compute: number(own, "FLOPs"),
        total: number(columnOf(total, column, columns), "FLOPs"),
        samples: over(own, lines.flopsPerSample[column], "samples"),
        steps: over(own, perStep, "steps"),
        tau: tau && number(columnOf(tau, column, columns), "samples per unique problem"),
        share: share(which, column),
        decades_beyond: beyond,
      };
    });
    return { target, best: best < 0 ? null : best, least: leastNumber(total, rows, columns, "FLOPs"), sizes };
  }

  function losses(lines, compute, supply) {
    const { rows, slope, level, first } = lines;
    const columns = compute.length;
    const found = new Float64Array(rows * columns);
    for (let at = 0; at < found.length; at += 1) {
      const column = at % columns;
      const row = (at - column) / columns;
      const perSample = lines.flopsPerSample[column];
      const useful = supply ? supply.worth(compute[column] / perSample, row) * perSample : compute[column];
      const isStarted = Math.log10(Math.max(compute[column], 1e-300)) >= first[column] - 1e-9;
      const log10Loss = Math.min(level[at] - slope[at] * Math.log10(Math.max(useful, 1e-300)), 0.0);
      found[at] = isStarted ? 10.0 ** log10Loss : Infinity;
    }
    return found;
  }

  function planBudget(lines, budget, { supply, inferenceTokens, overhead }) {
    const { rows, params, last } = lines;
    const left = params.map((size) => Math.max(budget - (2.0 * size * inferenceTokens) / overhead, 0.0));
    const loss = losses(lines, left, supply);
    const { best, which } = least(loss, rows, params.length);
    const sizes = params.map((size, column) => {
      const own = columnOf(loss, column, params.length);
      const isStarted = Number.isFinite(own[0]);
      const samples = left[column] / lines.flopsPerSample[column];
      const steps = samples / lines.samplesPerStep[column];
      return {
        params: size,
        fitted: lines.fitted[column],
        loss: isStarted ? number(own, "test loss") : null,
        compute: left[column],
        samples: finite(samples),
        steps: finite(steps),
        tau: supply ? Math.max(1.0, samples / supply.unique) : null,
        share: share(which, column),
        decades_beyond: isStarted ? Math.max(0.0, Math.log10(left[column]) - last[column]) : 0.0,
      };
    });
    return { budget, best: best < 0 ? null : best, least: leastNumber(loss, rows, params.length, "test loss"), sizes };
  }

  function frontier(lines, options) {
    const low = Math.ceil(Math.min(...lines.first) * 2);
    const high = Math.floor((Math.max(...lines.last) + 1.0) * 2);
    const plans = [];
    for (let half = low; half <= high; half += 1) plans.push(planBudget(lines, 10.0 ** (half / 2), options));
    return plans.filter((plan) => plan.best !== null);
  }

  function crossovers(lines) {
    const { rows, params, slope, level, first, last } = lines;
    const columns = params.length;
    return params.slice(1).map((larger, small) => {
      const large = small + 1;
      const low = Math.max(first[small], first[large]);
      const high = Math.min(last[small], last[large]);
      const compute = new Float64Array(rows);
      let crossing = 0;
      let seen = false;
      for (let row = 0; row < rows; row += 1) {
        const faster = slope[row * columns + large] - slope[row * columns + small];
        const behind = level[row * columns + large] - level[row * columns + small];
        const where = faster > 0 ? behind / faster : behind < 0 ? -Infinity : Infinity;
        const inside = where >= low && where <= high;
        if (row === 0) seen = inside;
        else crossing += inside;
        compute[row] = fromLog10(Math.max(where, low));
      }
      return { smaller: params[small], larger, compute: number(compute, "FLOPs"), share: crossing / (rows - 1), seen };
    });
  }

  return { planTarget, planBudget, frontier, crossovers };
})();
