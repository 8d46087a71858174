/* Numbers from replicates, and the worth of reused samples: src/rlscale/plan/numbers.py and supply.py once more.
 *
 * Arrays of draws are by row (0 the estimate, the others replicates): `Lines.slope[row * sizes + column]`. Infinity says
 * "never", null is an open end.
 */
"use strict";

const Replicates = (() => {
  /* Python's own: level, reach, most_decades, gpus; `Planner.load` fills it in. */
  const constants = {};

  const finite = (value) => (Number.isFinite(value) ? value : null);

  /* numbers.number: the estimate (row 0) and the ends of the replicates (the other rows). */
  function number(values, unit, level = constants.level) {
    const draws = Float64Array.from(values.subarray(1)).sort();
    const last = draws.length - 1;
    const low = draws[Math.floor(last * ((1 - level) / 2))];
    const high = draws[Math.ceil(last * ((1 + level) / 2))];
    let known = 0;
    for (const draw of draws) known += Number.isFinite(draw);
    return { estimate: finite(values[0]), low: finite(low), high: finite(high), unit, level, finite: known / draws.length };
  }

  const fromLog10 = (value) => (value > constants.reach ? Infinity : 10 ** Math.min(value, constants.reach));

  /* numbers.least_ends: the interval of the least over sizes, from the sizes' own ends. */
  function leastEnds(values, rows, columns, level) {
    const count = rows - 1;
    const draws = Array.from({ length: columns }, (_, column) => columnOf(values, column, columns).subarray(1));
    const ordered = draws.map((own) => Float64Array.from(own).sort());
    const low = Math.trunc(((count - 1) * (1 - level)) / 2);
    const high = Math.ceil(((count - 1) * (1 + level)) / 2);
    const leastHigh = Math.min(...ordered.map((own) => own[high]));
    const tied = [...ordered.keys()].filter((column) => ordered[column][low] <= leastHigh);
    const highest = new Int32Array(count);
    let below = 0;
    for (let row = 0; row < count; row += 1) {
      for (const column of tied) highest[row] = Math.max(highest[row], rankOf(ordered[column], draws[column][row]));
      below += tied.every((column) => draws[column][row] < ordered[column][low]);
    }
    const misses = Math.trunc(count * (1 - level) + 1e-9) - below;
    const joint = highest.sort()[count - 1 - Math.max(misses, 0)];
    const end = Math.max(high, joint);
    return [Math.min(...ordered.map((own) => own[low])), Math.min(...tied.map((column) => ordered[column][end]))];
  }

  /* How many of sorted values are below one. */
  function rankOf(sorted, value) {
    let [from, to] = [0, sorted.length];
    while (from < to) {
      const middle = (from + to) >> 1;
      if (sorted[middle] < value) from = middle + 1;
      else to = middle;
    }
    return from;
  }

  /* numbers.least_number: the least over sizes, with its interval. */
  function leastNumber(values, rows, columns, unit, level = constants.level) {
    const { lowest } = least(values, rows, columns);
    const [low, high] = leastEnds(values, rows, columns, level);
    const known = lowest.subarray(1).filter(Number.isFinite).length / (rows - 1);
    return { estimate: finite(lowest[0]), low: finite(low), high: finite(high), unit, level, finite: known };
  }

  /* numbers.least: which column is the least in the estimate, the least of each row, and which it was; -1 where none. */
  function least(values, rows, columns) {
    const lowest = new Float64Array(rows);
    const which = new Int32Array(rows);
    for (let row = 0; row < rows; row += 1) {
      let at = 0;
      for (let column = 1; column < columns; column += 1) {
        if (values[row * columns + column] < values[row * columns + at]) at = column;
      }
      lowest[row] = values[row * columns + at];
      which[row] = Number.isFinite(lowest[row]) ? at : -1;
    }
    return { best: which[0], lowest, which };
  }

  function share(which, column) {
    let count = 0;
    for (let row = 1; row < which.length; row += 1) count += which[row] === column;
    return count / (which.length - 1);
  }

  function columnOf(values, column, columns) {
    const own = new Float64Array(values.length / columns);
    for (let row = 0; row < own.length; row += 1) own[row] = values[row * columns + column];
    return own;
  }

  /* Lambert's W, main branch, of -1/e <= z <= 0, by Halley's iteration. */
  function lambertW(z) {
    if (z === 0) return 0;
    const p = Math.sqrt(Math.max(0, 2 * (Math.E * z + 1)));
    let w = p < 0.3 ? -1 + p - (p * p) / 3 + (11 * p ** 3) / 72 : Math.log1p(z);
    for (let turn = 0; turn < 50; turn += 1) {
      const e = Math.exp(w);
      const f = w * e - z;
      const step = f / (e * (w + 1) - ((w + 2) * f) / (2 * w + 2));
      if (!Number.isFinite(step)) break;
      w -= step;
      if (Math.abs(step) <= 1e-16 * Math.abs(w)) break;
    }
    return w;
  }

  class Supply {
    constructor({ law, identified, reason, value }, unique) {
      Object.assign(this, { law, identified, reason, value, unique });
    }

    best(row) {
      if (this.law !== "linear_penalty") return Infinity;
      return this.unique * Math.max(1.0, 1.0 / (this.value[row] * Math.log(10.0)));
    }

    log10Effective(used, value) {
      const repeats = Math.max(used / this.unique - 1.0, 0.0);
      if (this.law === "saturating_reuse") {
        return Math.log10(this.unique) + Math.log10(1.0 - value * Math.expm1(-repeats / value));
      }
      const all = Math.log10(Math.max(used, this.unique));
      return this.law === "linear_penalty" ? all - value * repeats : all;
    }

    worth(samples, row) {
      const used = Math.max(Math.min(samples, this.best(row)), 1e-300);
      if (used <= this.unique) return Math.min(used, this.unique);
      return 10.0 ** this.log10Effective(used, this.value[row]);
    }

    needed(effective, row) {
      if (this.law === "no_effect" || effective <= this.unique) return effective;
      const ratio = Math.max(effective / this.unique, 1.0);
      const value = this.value[row];
      if (this.law === "saturating_reuse") {
        const left = 1.0 - (ratio - 1.0) / value;
        return this.unique * (1.0 + (left > 0 ? -value * Math.log(Math.max(left, 1e-300)) : Infinity));
      }
      if (ratio <= 1.0) return this.unique;
      const rate = value * Math.log(10.0);
      const inside = -rate * ratio * Math.exp(-rate);
      const isReached = inside >= -Math.exp(-1.0) && rate < 1.0;
      return this.unique * (isReached ? -lambertW(inside) / rate : Infinity);
    }

    stops() {
      if (this.law === "saturating_reuse") {
        return number(this.value.map((value) => 1.0 - value * Math.log(0.1)), "samples per unique problem");
      }
      if (this.law === "linear_penalty") {
        return number(this.value.map((_, row) => this.best(row) / this.unique), "samples per unique problem");
      }
      return null;
    }
  }

  return { constants, finite, number, fromLog10, leastNumber, least, share, columnOf, Supply };
})();
