//! Functions on numbers.
//!
//! Exact where decimals are; logarithms and fractional powers go through floating point.
//! Invariant: what has no finite result is refused.

use lustre_model::value::{Number, Value};

use crate::function::{Row, Run, Yield, number, refuse, text, whole};

/// Largest exponent that is computed exactly.
const EXACT_EXPONENT_MAX: u64 = 4096;

pub(super) const ROWS: &[Row] = &[
    Row("abs(number number) number", "Drops the sign.", ["abs(-12.4)", "12.4"], Run::Values(abs)),
    Row("ceil(number number) number", "Rounds up.", ["ceil(5.1)", "6"], Run::Values(ceil)),
    Row("floor(number number) number", "Rounds down.", ["floor(-4.1)", "-5"], Run::Values(floor)),
    Row(
        "log(number number, base number) number",
        "Computes a logarithm.",
        ["log(16, 2)", "4"],
        Run::Values(log),
    ),
    Row(
        "pow(number number, power number) number",
        "Computes a power.",
        ["pow(2, 100)", "1267650600228229401496703205376"],
        Run::Values(pow),
    ),
    Row("signum(number number) number", "Yields -1, 0 or 1.", ["signum(-13)", "-1"], Run::Values(signum)),
    Row(
        "parseint(text string, base number) number",
        "Reads a whole number with a base of 2 to 62.",
        ["parseint(\"FF\", 16)", "255"],
        Run::Values(parse_int),
    ),
    Row("max(...numbers number) number", "Yields the greatest.", ["max(12, 54, 3)", "54"], Run::Values(max)),
    Row("min(...numbers number) number", "Yields the least.", ["min(12, 54, 3)", "3"], Run::Values(min)),
];

fn abs(arguments: &[Value]) -> Yield {
    Ok(number(arguments, 0)?.abs().into())
}

fn ceil(arguments: &[Value]) -> Yield {
    Ok(number(arguments, 0)?.ceil().into())
}

fn floor(arguments: &[Value]) -> Yield {
    Ok(number(arguments, 0)?.floor().into())
}

fn from_f64(value: f64) -> Yield {
    Number::from_f64(value).map(Value::from).or_else(|_| refuse(0, "there is no finite result"))
}

fn log(arguments: &[Value]) -> Yield {
    let (value, base) = (number(arguments, 0)?.to_f64(), number(arguments, 1)?.to_f64());
    from_f64(value.ln() / base.ln())
}

fn pow(arguments: &[Value]) -> Yield {
    let (base, power) = (number(arguments, 0)?, number(arguments, 1)?);
    let Some(mut exponent) = power.to_u64().filter(|exponent| *exponent <= EXACT_EXPONENT_MAX) else {
        return from_f64(base.to_f64().powf(power.to_f64()));
    };
    let (mut result, mut square) = (Number::from(1u64), base.clone());
    while exponent > 0 {
        if exponent % 2 == 1 {
            result = result.multiply(&square).or_else(|error| refuse(0, error.to_string()))?;
        }
        exponent /= 2;
        if exponent > 0 {
            square = square.multiply(&square).or_else(|error| refuse(0, error.to_string()))?;
        }
    }
    Ok(result.into())
}

fn signum(arguments: &[Value]) -> Yield {
    Ok(number(arguments, 0)?.sign().into())
}

fn parse_int(arguments: &[Value]) -> Yield {
    let Some(base) = u32::try_from(whole(arguments, 1)?).ok().filter(|base| (2..=62).contains(base)) else {
        return refuse(1, "a base is between 2 and 62");
    };
    let digits = text(arguments, 0);
    let parsed = Number::parse_radix(digits, base);
    parsed.map(Value::from).or_else(|_| refuse(0, format!("{digits:?} is no whole number with base {base}")))
}

fn best(arguments: &[Value], better: fn(&Number, &Number) -> bool) -> Yield {
    let numbers = arguments.iter().filter_map(Value::as_number);
    let chosen = numbers.reduce(|best, next| if better(next, best) { next } else { best });
    match chosen {
        Some(number) => Ok(number.clone().into()),
        None => {
            Err(crate::function::Refusal { argument: None, reason: "At least one number is required".into() })
        }
    }
}

fn max(arguments: &[Value]) -> Yield {
    best(arguments, Number::gt)
}

fn min(arguments: &[Value]) -> Yield {
    best(arguments, Number::lt)
}
