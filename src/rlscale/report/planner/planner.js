/* The planner of `rlscale plan` once more, for a page without Python: src/rlscale/plan/whole.py.
 *
 * Every function here and in the files beside is named after its model and does the same arithmetic in the same order on
 * the same draws, so that what is printed is the same to the last digit; tests/browser compares the two.
 */
"use strict";

const Planner = (() => {
  const { fixed, general, percent } = PythonText;
  const { constants, Supply } = Replicates;
  const { planTarget, planBudget, frontier, crossovers } = Questions;
  const { PlanError, checkRequest, checkHardware, hoursPerFlop, flopsOf } = Checks;
  const { ofAsymptotes, ofSize, ofCompute, ofSupply } = Checks;

  function reachable(plan, evidence) {
    if (plan.sizes.some((one) => one.decades_beyond !== null && one.decades_beyond <= constants.most_decades)) return plan;
    const reasons = ofAsymptotes(plan.target, evidence.floors, evidence.fit.law).map((flag) => "; " + flag.text);
    const decades = (one) => (one.decades_beyond === null ? Infinity : one.decades_beyond);
    const nearest = plan.sizes.reduce((near, one) => (decades(one) < decades(near) ? one : near));
    const far =
      nearest.decades_beyond === null
        ? `no size gets there with 1e${fixed(constants.reach, 0)} FLOPs`
        : `${general(nearest.params, 4)} parameters would take it, ${fixed(nearest.decades_beyond, 1)} decades beyond its points`;
    throw new PlanError(
      `--target-loss ${general(plan.target)}: unreachable within ${general(constants.most_decades)} decades of compute beyond ` +
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

  /* float64, little-endian, base64 */
  function draws(text) {
    const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
    const view = new DataView(bytes.buffer);
    return Float64Array.from({ length: bytes.length / 8 }, (_, at) => view.getFloat64(8 * at, true));
  }

  const orNaN = (values) => values.map((value) => (value === null ? NaN : value));

  /* Decode the evidence of every fit; constants are Python's. */
  function load(shipped) {
    Object.assign(constants, shipped.constants);
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

  return { load, makePlan, gpus: () => constants.gpus };
})();
