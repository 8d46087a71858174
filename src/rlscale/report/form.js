/* The planner's form: reads it, asks planner/planner.js, and shows what comes out as tables and text. */
"use strict";

(() => {
  const form = document.getElementById("plan-form");
  if (!form) return;
  const shipped = JSON.parse(document.getElementById("planner-data").textContent);
  const evidence = Planner.load(shipped);
  const of = (name) => document.getElementById(`plan-${name}`);
  const shown = of("fit");

  /* A slider is logarithmic between two ends; the box beside it has the number that counts. */
  const sliders = {};
  function slider(name, low, high, value) {
    const slide = of(`${name}-slide`);
    const box = of(name);
    const span = Math.log10(high / low);
    const follow = () => {
      slide.value = Math.round((1000 * Math.log10(Number(box.value) / low)) / span) || 0;
    };
    const fresh = !sliders[name];
    sliders[name] = { low, high, span, follow };
    if (fresh) {
      slide.addEventListener("input", () => {
        const own = sliders[name];
        box.value = String(Number((own.low * 10 ** ((own.span * slide.value) / 1000)).toPrecision(3)));
        slide.setAttribute("aria-valuetext", box.value);
      });
      box.addEventListener("input", () => sliders[name].follow());
    }
    if (value !== null) box.value = String(Number(value.toPrecision(3)));
    follow();
  }

  function hardware() {
    const gpu = of("gpu").value;
    of("peak").disabled = gpu !== "other";
    return {
      name: gpu === "other" ? "" : gpu,
      peak: gpu === "" ? null : gpu === "other" ? numberIn("peak") : Planner.gpus()[gpu],
      mfu: numberIn("mfu"),
      overhead: numberIn("overhead"),
      gpus: numberIn("gpus"),
      price: of("price-on").checked ? numberIn("price") : null,
    };
  }

  const numberIn = (name) => (of(name).value === "" ? NaN : Number(of(name).value));

  function request() {
    return {
      target: of("target-on").checked ? numberIn("target") : null,
      budget: of("budget-on").checked ? { amount: numberIn("budget"), unit: of("unit").value, text: of("budget").value + of("unit").value } : null,
      unique: of("unique-on").checked ? numberIn("unique") : null,
      inferenceTokens: numberIn("tokens"),
    };
  }

  function command(fit, asked, used) {
    const words = ["rlscale", "plan", shipped.source, "--x", fit.x, "--loss", fit.loss];
    if (asked.target !== null) words.push("--target-loss", of("target").value);
    if (asked.budget) words.push("--budget", asked.budget.text);
    if (asked.unique !== null) words.push("--unique-problems", of("unique").value);
    if (asked.inferenceTokens !== 0) words.push("--inference-tokens", of("tokens").value);
    if (used.name) words.push("--gpu", used.name);
    else if (used.peak !== null) words.push("--peak-flops", of("peak").value);
    words.push("--mfu", of("mfu").value, "--overhead", of("overhead").value, "--gpus", of("gpus").value);
    if (used.price !== null) words.push("--price", of("price").value);
    return words.join(" ");
  }

  function element(name, text, attributes = {}) {
    const made = document.createElement(name);
    made.textContent = text;
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    return made;
  }

  function table({ title, heads, rows }) {
    const box = element("div", "", { class: "scroll", tabindex: "0", role: "region", "aria-label": title });
    const made = element("table", "");
    const head = element("tr", "");
    head.append(...heads.map((text) => (text ? element("th", text, { scope: "col" }) : element("td", ""))));
    const thead = element("thead", "");
    thead.append(head);
    const body = element("tbody", "");
    for (const row of rows) {
      const line = element("tr", "");
      line.append(...row.map((text, at) => (at ? element("td", text) : element("th", text, { scope: "row" }))));
      body.append(line);
    }
    made.append(element("caption", title), thead, body);
    box.append(made);
    return box;
  }

  function show() {
    const own = evidence[shown.value];
    const asked = request();
    const used = hardware();
    of("command").textContent = command(own.fit, asked, used);
    const place = document.getElementById("plan");
    try {
      const parts = PlanTables.showPlan(Planner.makePlan(own, asked, used));
      place.replaceChildren(
        ...parts.map((part) => {
          if (typeof part !== "string") return table(part);
          return element("p", part, part.startsWith("caution: ") ? { class: "caution" } : {});
        }),
      );
    } catch (error) {
      if (!(error instanceof Checks.PlanError)) throw error;
      place.replaceChildren(element("p", error.message, { class: "refusal", role: "alert" }));
    }
  }

  let waiting = false;
  function later() {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => {
      waiting = false;
      show();
    });
  }

  /* Ends of the sliders by what was fitted: half a decade around it for budgets, what the lines reach for losses. */
  function begin() {
    const { lines } = evidence[shown.value];
    const low = 10 ** Math.min(...lines.first);
    const high = 10 ** (Math.max(...lines.last) + 1);
    const least = Math.min(...lines.params.map((_, at) => 10 ** Math.min(0, lines.level[at] - lines.slope[at] * (lines.last[at] + 1))));
    const most = Math.max(...lines.params.map((_, at) => 10 ** Math.min(0, lines.level[at] - lines.slope[at] * lines.first[at])));
    slider("target", least, Math.min(most, 0.99), Math.sqrt(least * most) * 1.1);
    slider("budget", low, high, Math.sqrt(low * high) * 2);
    const samples = lines.flopsPerSample.map((one, at) => 10 ** lines.last[at] / one).filter(Number.isFinite);
    const seen = samples.length ? Math.max(...samples) : 1e5;
    slider("unique", Math.max(1, seen / 1e3), seen * 10, seen / 8);
    if (of("price").value === "") slider("price", 0.1, 20, 2.5);
  }

  form.addEventListener("input", later);
  form.addEventListener("change", later);
  form.addEventListener("submit", (event) => event.preventDefault());
  shown.addEventListener("change", begin);
  begin();
  show();
})();
