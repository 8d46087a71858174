/* What is refused and what is flagged: src/rlscale/plan/request.py, hardware.py and flags.py once more. */
"use strict";

const Checks = (() => {
  const { fixed, general, repr } = PythonText;

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

  return { PlanError, checkRequest, checkHardware, hoursPerFlop, flopsOf, ofAsymptotes, ofSize, ofCompute, ofSupply };
})();
