/* The planner of `rlscale plan` once more, for a page without Python: src/rlscale/plan/*.py and cli_plan_tables.py.
 *
 * Every function is named after its model there and does the same arithmetic in the same order on the same draws, so
 * that what is printed is the same to the last digit; tests/browser compares the two. Arrays of draws are by row (0 the
 * estimate, the others replicates): `Lines.slope[row * sizes + column]`. Infinity says "never", null is an open end.
 */
"use strict";

const Planner = (() => {
  // ---- Python's formats -------------------------------------------------------------------------------------------

  /* Digits of a decimal text, rounded half to even after `keep` digits; toPrecision and toFixed round a tie up. */
  function roundDigits(digits, keep) {
    const rest = digits.slice(keep).replace(/0+$/, "");
    let kept = BigInt(digits.slice(0, keep) || "0");
    const isTie = rest === "5";
    if (isTie ? kept % 2n === 1n : rest !== "" && rest[0] >= "5") kept += 1n;
    return kept.toString().padStart(keep, "0");
  }

  function grouped(whole) {
    return whole.replace(/\B(?=(\d{3})+$)/g, ",");
  }

  /* f"{value:.{places}f}", with commas where asked. */
  function fixed(value, places, commas = false) {
    const [whole, fraction] = Math.abs(value).toFixed(60).split(".");
    const digits = roundDigits(whole + fraction, whole.length + places);
    const split = digits.length - places;
    const before = commas ? grouped(digits.slice(0, split)) : digits.slice(0, split);
    const sign = value < 0 || Object.is(value, -0) ? "-" : "";
    return sign + before + (places ? "." + digits.slice(split) : "");
  }

  /* f"{value:.{precision}g}", with commas where asked. */
  function general(value, precision = 6, commas = false) {
    if (Number.isNaN(value)) return "nan";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
    if (value === 0) return Object.is(value, -0) ? "-0" : "0";
    const sign = value < 0 ? "-" : "";
    const [mantissa, power] = Math.abs(value).toExponential(60).split("e");
    let exponent = Number(power);
    let digits = roundDigits(mantissa.replace(".", ""), precision);
    if (digits.length > precision) {
      digits = digits.slice(0, precision);
      exponent += 1;
    }
    const strip = (text) => (text.includes(".") ? text.replace(/\.?0*$/, "") : text);
    if (exponent < -4 || exponent >= precision) {
      const size = String(Math.abs(exponent)).padStart(2, "0");
      return `${sign}${strip(digits[0] + "." + digits.slice(1))}e${exponent < 0 ? "-" : "+"}${size}`;
    }
    if (exponent < 0) return sign + strip("0." + "0".repeat(-exponent - 1) + digits);
    const whole = digits.slice(0, exponent + 1);
    return sign + strip((commas ? grouped(whole) : whole) + "." + digits.slice(exponent + 1));
  }

  /* f"{value:.0%}" */
  const percent = (value) => fixed(value * 100, 0) + "%";

  /* repr(float) */
  function repr(value) {
    if (Number.isNaN(value)) return "nan";
    if (!Number.isFinite(value)) return value > 0 ? "inf" : "-inf";
    const [mantissa, power] = value.toExponential().split("e");
    const exponent = Number(power);
    if (value !== 0 && (exponent < -4 || exponent >= 16)) {
      return `${mantissa}e${exponent < 0 ? "-" : "+"}${String(Math.abs(exponent)).padStart(2, "0")}`;
    }
    const plain = Number.isInteger(value) ? value.toFixed(0) + ".0" : String(value);
    // Between 1e-6 and 1e-4 JavaScript writes decimals too, and so it never comes here with an exponent.
    return plain;
  }

  const short = (value, digits = 3) =>
    Math.abs(value) >= 100 && Math.abs(value) < 1e5 ? fixed(value, 0, true) : general(value, digits);

  // ---- numbers.py -------------------------------------------------------------------------------------------------

  let LEVEL = 0.9;
  let REACH = 40.0;
  let MOST_DECADES = 3.0;
  let GPUS = {};

  const finite = (value) => (Number.isFinite(value) ? value : null);

  /* numbers.number: the estimate (row 0) and the ends of the replicates (the other rows). */
  function number(values, unit, level = LEVEL) {
    const draws = Float64Array.from(values.subarray(1)).sort();
    const last = draws.length - 1;
    const low = draws[Math.floor(last * ((1 - level) / 2))];
    const high = draws[Math.ceil(last * ((1 + level) / 2))];
    let known = 0;
    for (const draw of draws) known += Number.isFinite(draw);
    return { estimate: finite(values[0]), low: finite(low), high: finite(high), unit, level, finite: known / draws.length };
  }

  const fromLog10 = (value) => (value > REACH ? Infinity : 10 ** Math.min(value, REACH));

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
  function leastNumber(values, rows, columns, unit, level = LEVEL) {
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

  // ---- supply.py and laws/data_reuse.py ---------------------------------------------------------------------------

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

  // ---- target.py --------------------------------------------------------------------------------------------------

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

  // ---- budget.py --------------------------------------------------------------------------------------------------

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

  // ---- request.py, hardware.py and cli_plan._hardware -------------------------------------------------------------

  class PlanError extends Error {}

  const isPositive = (value) => Number.isFinite(value) && value > 0;

  function checkRequest(request) {
    if (request.target === null && request.budget === null) {
      throw new PlanError("nothing to plan for: give --target-loss, --budget or --from-size");
    }
    if (request.target !== null && !(request.target > 0 && request.target < 1)) {
      throw new PlanError(`--target-loss is ${repr(request.target)}; allowed: a test loss above 0 and below 1`);
    }
    if (request.unique !== null && !isPositive(request.unique)) {
      throw new PlanError(`--unique-problems is ${repr(request.unique)}; allowed: a positive number`);
    }
    if (request.budget !== null && !isPositive(request.budget.amount)) {
      throw new PlanError(`--budget ${request.budget.text}: allowed: a positive amount`);
    }
    if (!(Number.isFinite(request.inferenceTokens) && request.inferenceTokens >= 0)) {
      throw new PlanError(`--inference-tokens is ${repr(request.inferenceTokens)}; allowed: 0 or more`);
    }
  }

  function checkHardware({ peak, price, gpus, overhead, mfu }) {
    const positive = { "--peak-flops": peak, "--price": price, "--gpus": gpus, "--overhead": overhead };
    for (const [name, value] of Object.entries(positive)) {
      const said = name === "--gpus" ? String(value) : value === null ? "" : repr(value);
      if (value !== null && !isPositive(value)) throw new PlanError(`${name} is ${said}; allowed: a positive number`);
    }
    if (!(mfu > 0 && mfu <= 1)) throw new PlanError(`--mfu is ${repr(mfu)}; allowed: above 0 and at most 1`);
    if (overhead < 1) {
      throw new PlanError(`--overhead is ${repr(overhead)}; allowed: 1 or more (1: the update alone)`);
    }
    if (price !== null && peak === null) {
      throw new PlanError("--price is of a GPU-hour: give --gpu or --peak-flops too");
    }
  }

  const hoursPerFlop = ({ peak, mfu, overhead }) => (peak === null ? null : overhead / (peak * mfu * 3600.0));

  function flopsOf(hardware, amount, unit) {
    if (unit === "flops") return amount;
    const hours = hoursPerFlop(hardware);
    if (hours === null) throw new PlanError(`a budget in ${unit} needs --gpu or --peak-flops`);
    if (unit === "usd" && hardware.price === null) throw new PlanError("a budget in usd needs --price, of a GPU-hour");
    return (unit === "usd" ? amount / hardware.price : amount) / hours;
  }

  // ---- flags.py ---------------------------------------------------------------------------------------------------

  function ofAsymptotes(target, floors, law) {
    const lowest = [];
    for (const [name, sizes] of Object.entries(floors)) {
      const ends = Object.entries(sizes);
      if (ends.length) lowest.push([name, ends.reduce((low, end) => (end[1] < low[1] ? end : low))]);
    }
    const never = lowest.filter(([, end]) => end[1] >= target);
    if (!never.length) return [];
    const ends = never.map(
      ([name, [size, loss]]) => `${name} (ends at ${fixed(loss, 3)}, ${general(Number(size), 3)} parameters)`,
    );
    const reach = [law, ...lowest.filter(([, end]) => end[1] < target).map(([name]) => name)];
    const text = `target ${general(target)} is unreachable under ${ends.join(", ")}; reachable under ${reach.join(", ")}`;
    return [{ code: "asymptote", text }];
  }

  function ofSize(lines, params) {
    const column = lines.params.indexOf(params);
    if (lines.fitted[column]) return [];
    const known = lines.params.filter((_, at) => lines.fitted[at]);
    const beyond = Math.max(Math.log10(params / Math.max(...known)), Math.log10(Math.min(...known) / params), 0.0);
    const where = beyond > 0 ? `${fixed(beyond, 2)} decades beyond the fitted sizes` : "between the fitted sizes";
    const text = `${general(params, 4)} parameters lie ${where}; its level is modelled, E = a + c k(N), not measured`;
    return [{ code: "beyond_n", text }];
  }

  function ofCompute(what, params, decades) {
    if (!(decades > 0)) return [];
    const text = `${what}: ${fixed(decades, 2)} decades beyond the last fitted compute of ${general(params, 4)} parameters`;
    return [{ code: "beyond_x", text }];
  }

  function ofSupply(supply) {
    if (!supply.identified) {
      const text = `the law of reuse is not identified: ${supply.reason} Planned with ${supply.law}`;
      return [{ code: "reuse", text }];
    }
    if (supply.law !== "no_effect") return [];
    const text = `reuse had no effect in these runs, so problems seen again count as new: ${supply.reason}`;
    return [{ code: "reuse", text }];
  }

  // ---- whole.py ---------------------------------------------------------------------------------------------------

  function reachable(plan, evidence) {
    if (plan.sizes.some((one) => one.decades_beyond !== null && one.decades_beyond <= MOST_DECADES)) return plan;
    const reasons = ofAsymptotes(plan.target, evidence.floors, evidence.fit.law).map((flag) => "; " + flag.text);
    const decades = (one) => (one.decades_beyond === null ? Infinity : one.decades_beyond);
    const nearest = plan.sizes.reduce((near, one) => (decades(one) < decades(near) ? one : near));
    const far =
      nearest.decades_beyond === null
        ? `no size gets there with 1e${fixed(REACH, 0)} FLOPs`
        : `${general(nearest.params, 4)} parameters would take it, ${fixed(nearest.decades_beyond, 1)} decades beyond its points`;
    throw new PlanError(
      `--target-loss ${general(plan.target)}: unreachable within ${general(MOST_DECADES)} decades of compute beyond ` +
        `the fitted points (${far})${reasons.join("")}`,
    );
  }

  function targetFlags(plan, evidence) {
    const { lines } = evidence;
    const flags = [];
    if (plan.best !== null) {
      const best = plan.sizes[plan.best];
      flags.push(...ofSize(lines, best.params), ...ofCompute("the target", best.params, best.decades_beyond));
      if (best.compute.estimate !== null && best.compute.estimate <= 10 ** (lines.first[plan.best] + 1e-9)) {
        flags.push({ code: "first_point", text: "the first fitted point of that size is already below the target" });
      }
      if (best.compute.high === null) {
        const never = percent(1.0 - best.compute.finite);
        flags.push({ code: "open", text: `the interval is open above: ${never} of the replicates never reach the target` });
      }
    }
    return [...flags, ...ofAsymptotes(plan.target, evidence.floors, evidence.fit.law)];
  }

  function budgetFlags(plan, lines, serves) {
    if (plan.best === null) {
      const start = general(10 ** Math.min(...lines.first), 3);
      const spent = serves ? " once serving is paid for" : "";
      throw new PlanError(
        `--budget: ${general(plan.budget, 3)} FLOPs are too few${spent}: no size gets to its first fitted point (the ` +
          `least is at ${start} FLOPs)`,
      );
    }
    const best = plan.sizes[plan.best];
    return [...ofSize(lines, best.params), ...ofCompute("the budget", best.params, best.decades_beyond)];
  }

  function scaled(value, rate, unit) {
    const times = (end) => (end === null ? null : end * rate);
    return { ...value, estimate: times(value.estimate), low: times(value.low), high: times(value.high), unit };
  }

  function money(flops, hardware) {
    const hours = hoursPerFlop(hardware);
    const cost = hours === null || hardware.price === null ? null : hours * hardware.price;
    return {
      gpu_hours: hours === null ? null : scaled(flops, hours, "GPU-hours"),
      days: hours === null ? null : scaled(flops, hours / hardware.gpus / 24.0, "days"),
      cost: cost === null ? null : scaled(flops, cost, "money"),
    };
  }

  /* whole.make_plan: the same values as `rlscale plan --json`. Throws a PlanError with the sentence of the refusal. */
  function makePlan(evidence, request, hardware) {
    checkRequest(request);
    checkHardware(hardware);
    const { lines } = evidence;
    const supply = request.unique === null ? null : new Supply(evidence.supply, request.unique);
    const options = { supply, inferenceTokens: request.inferenceTokens, overhead: hardware.overhead };
    const budget = request.budget && flopsOf(hardware, request.budget.amount, request.budget.unit);
    const flags = [];
    const made = { target: null, budget: null, reuse: null, further: null };
    if (request.target !== null) {
      const plan = reachable(planTarget(lines, request.target, options), evidence);
      flags.push(...targetFlags(plan, evidence));
      const sizes = plan.sizes.map((one) => ({ ...one, ...money(one.total, hardware) }));
      made.target = { target: plan.target, least: plan.least, best: plan.best === null ? null : sizes[plan.best], sizes };
    }
    if (budget !== null) {
      const plan = planBudget(lines, budget, options);
      flags.push(...budgetFlags(plan, lines, request.inferenceTokens > 0));
      const hours = hoursPerFlop(hardware);
      made.budget = {
        flops: plan.budget,
        gpu_hours: hours === null ? null : plan.budget * hours,
        cost: hours === null || hardware.price === null ? null : plan.budget * hours * hardware.price,
        least_loss: plan.least,
        best: plan.sizes[plan.best],
        sizes: plan.sizes,
        frontier: frontier(lines, options).map((one) => ({ flops: one.budget, best: one.sizes[one.best] })),
      };
    }
    if (supply) {
      made.reuse = { law: supply.law, unique_problems: supply.unique, stops_paying_at_tau: supply.stops() };
      flags.push(...ofSupply(supply));
    }
    flags.push(...evidence.flags);
    const seen = new Set();
    const once = flags.filter(({ code, text }) => !seen.has(code + text) && seen.add(code + text));
    return { fit: evidence.fit, hardware, ...made, crossovers: crossovers(lines), flags: once };
  }

  // ---- cli_plan_tables.py -----------------------------------------------------------------------------------------

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
      const isFar = row.decades_beyond === null || row.decades_beyond > MOST_DECADES;
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

  // ---- what the page ships ----------------------------------------------------------------------------------------

  /* float64, little-endian, base64 */
  function draws(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 8 }, (_, at) => view.getFloat64(8 * at, true));
  }

  const orNaN = (values) => values.map((value) => (value === null ? NaN : value));

  /* Decode the evidence of every fit; constants are Python's. */
  function load(shipped) {
    ({ level: LEVEL, reach: REACH, most_decades: MOST_DECADES, gpus: GPUS } = shipped.constants);
    const supply = shipped.supply && { ...shipped.supply, value: draws(shipped.supply.value) };
    return Object.fromEntries(
      Object.entries(shipped.fits).map(([name, one]) => [
        name,
        {
          fit: one.fit,
          floors: one.floors,
          flags: one.flags,
          supply,
          lines: {
            rows: one.rows,
            params: one.params,
            slope: draws(one.slope),
            level: draws(one.level),
            first: one.first,
            last: one.last,
            fitted: one.fitted,
            flopsPerSample: orNaN(one.flops_per_sample),
            samplesPerStep: orNaN(one.samples_per_step),
          },
        },
      ]),
    );
  }

  return { load, makePlan, showPlan, PlanError, general, fixed, short, gpus: () => GPUS };
})();
