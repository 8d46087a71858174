/* Python's formats of numbers: what `rlscale plan` prints is what the page prints, to the last digit. */
"use strict";

const PythonText = (() => {
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

  return { fixed, general, percent, repr, short };
})();
