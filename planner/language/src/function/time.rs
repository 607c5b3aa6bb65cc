//! Functions on points in time, written as RFC 3339 has them.
//!
//! ```text
//! 2026-01-02T03:04:05.5+01:00   fractions of a second are read and dropped
//! ```
//! Clocks are not here: the time of the plan and that of its apply come through [`World`](crate::world::World).
//! Invariant: every time has a year from 0 to 9999; what would leave it is refused.

use lustre_model::types::Type;
use lustre_model::value::Value;

use crate::function::{Draw, Read, Refusal, Row, Run, Yield, refuse, text};
use crate::world::{Applying, Moment, World};

pub(super) const ROWS: &[Row] = &[
    Row(
        "timestamp() string",
        "Yields the time at which the plan is applied; it is not known before.",
        ["timestamp()", "\"2026-01-02T03:05:00Z\""],
        Run::Later(timestamp),
    ),
    Row(
        "plantimestamp() string",
        "Yields the time at which the plan is made.",
        ["plantimestamp()", "\"2026-01-02T03:04:05Z\""],
        Run::World(plan_timestamp),
    ),
    Row(
        "formatdate(format string, time string) string",
        "Writes a time in another form: `YYYY`, `MM`, `DD`, `hh`, `mm`, `ss`, `EEE`, `ZZZ`, text in single quotes.",
        [
            "formatdate(\"EEEE, DD-MMM-YY hh:mm:ss ZZZ\", \"2018-01-02T23:12:01Z\")",
            "\"Tuesday, 02-Jan-18 23:12:01 UTC\"",
        ],
        Run::Values(format_date),
    ),
    Row(
        "timeadd(time string, duration string) string",
        "Adds a duration such as `1h30m` to a time.",
        ["timeadd(\"2017-11-22T00:00:00Z\", \"10m\")", "\"2017-11-22T00:10:00Z\""],
        Run::Values(time_add),
    ),
    Row(
        "timecmp(first string, second string) number",
        "Yields -1, 0 or 1 for an earlier, the same or a later time.",
        ["timecmp(\"2017-11-22T00:00:00Z\", \"2017-11-22T01:00:00+01:00\")", "0"],
        Run::Values(time_compare),
    ),
];

const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

const WEEKDAYS: [&str; 7] = ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

const NANOSECONDS: i128 = 1_000_000_000;

const DAY_SECONDS: i64 = 86_400;

fn timestamp(applying: &Applying, _draw: &Draw, _arguments: &[Value]) -> Yield {
    Ok(applying.began.rfc3339().into())
}

fn plan_timestamp(world: &dyn World, _arguments: &[Value]) -> Read {
    let value = world.planned_at().map_or(Value::unknown(Type::String), |moment| moment.rfc3339().into());
    Ok((value, None))
}

impl Moment {
    /// Writes the instant as `timestamp` does: `2026-11-21T01:30:00Z`.
    pub fn rfc3339(self) -> String {
        Time { nanoseconds: i128::from(self.0) * NANOSECONDS, offset_minutes: 0 }.rfc3339()
    }
}

/// A time: since 1970 in UTC, with the offset that it is written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Time {
    nanoseconds: i128,
    offset_minutes: i64,
}

/// A time as its place writes it.
struct Local {
    year: i64,
    month: usize,
    day: i64,
    weekday: usize,
    hour: i64,
    minute: i64,
    second: i64,
}

/// Days from 1970-01-01 to a date of the proleptic Gregorian calendar, counted in eras of 400 years that begin in March.
fn days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

fn days_in(year: i64, month: i64) -> i64 {
    let (next_year, next) = if month == 12 { (year + 1, 1) } else { (year, month + 1) };
    days(next_year, next, 1) - days(year, month, 1)
}

impl Time {
    fn local(self) -> Local {
        let seconds =
            i64::try_from(self.nanoseconds.div_euclid(NANOSECONDS)).unwrap_or(0) + self.offset_minutes * 60;
        let (day, rest) = (seconds.div_euclid(DAY_SECONDS), seconds.rem_euclid(DAY_SECONDS));
        let shifted = day + 719_468;
        let (era, day_of_era) = (shifted.div_euclid(146_097), shifted.rem_euclid(146_097));
        let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let month = (month_from_march + 2) % 12;
        Local {
            year: year_of_era + era * 400 + i64::from(month < 2),
            month: usize::try_from(month).unwrap_or(0),
            day: day_of_year - (153 * month_from_march + 2) / 5 + 1,
            weekday: usize::try_from((day + 4).rem_euclid(7)).unwrap_or(0),
            hour: rest / 3600,
            minute: rest / 60 % 60,
            second: rest % 60,
        }
    }

    fn rfc3339(self) -> String {
        let Local { year, month, day, hour, minute, second, .. } = self.local();
        let month = month + 1;
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}{}", self.zone(":", "Z"))
    }

    fn zone(self, separator: &str, utc: &str) -> String {
        if self.offset_minutes == 0 && !utc.is_empty() {
            return utc.to_owned();
        }
        let (sign, minutes) =
            if self.offset_minutes < 0 { ('-', -self.offset_minutes) } else { ('+', self.offset_minutes) };
        format!("{sign}{:02}{separator}{:02}", minutes / 60, minutes % 60)
    }
}

/// Reads RFC 3339, piece by piece, so that what is wrong can be named.
struct Reader<'a> {
    rest: &'a str,
    argument: usize,
}

impl Reader<'_> {
    fn refused<T>(&self, reason: &str) -> Result<T, Refusal> {
        refuse(self.argument, format!("not a valid RFC3339 timestamp: {reason}"))
    }

    fn number(
        &mut self,
        digits: usize,
        range: std::ops::RangeInclusive<i64>,
        what: &str,
    ) -> Result<i64, Refusal> {
        if self.rest.is_empty() {
            return self.refused(&format!("end of string before {what}"));
        }
        let found = self.rest.get(..digits).filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
        let number = found.and_then(|text| text.parse::<i64>().ok()).filter(|number| range.contains(number));
        let Some(number) = number else {
            return self.refused(&format!("cannot use {:?} as {what}", self.rest));
        };
        self.rest = self.rest.get(digits..).unwrap_or("");
        Ok(number)
    }

    fn sign(&mut self, wanted: char) -> Result<(), Refusal> {
        match (self.rest.strip_prefix(wanted), self.rest) {
            (Some(rest), _) => {
                self.rest = rest;
                Ok(())
            }
            (None, _) if wanted == 'T' => self.refused("missing required time introducer 'T'"),
            (None, "") => self.refused(&format!("end of string where \"{wanted}\" is expected")),
            (None, rest) => self.refused(&format!("found {rest:?} where \"{wanted}\" is expected")),
        }
    }

    /// Nanoseconds behind a point, of which nine digits count.
    fn fraction(&mut self) -> Result<i128, Refusal> {
        let Some(rest) = self.rest.strip_prefix('.') else { return Ok(0) };
        let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
        if end == 0 {
            return self.refused(&format!("cannot use {:?} as second", self.rest));
        }
        let digits: String = rest[..end].chars().chain(std::iter::repeat('0')).take(9).collect();
        self.rest = &rest[end..];
        Ok(digits.parse().unwrap_or(0))
    }

    fn offset_minutes(&mut self) -> Result<i64, Refusal> {
        if let Some(rest) = self.rest.strip_prefix('Z') {
            self.rest = rest;
            return Ok(0);
        }
        if self.rest.is_empty() {
            return self.refused("end of string before UTC offset");
        }
        let whole = self.rest;
        let parsed = || {
            let sign = match whole.get(..1)? {
                "+" => 1,
                "-" => -1,
                _ => return None,
            };
            let (hours, minutes) = whole.get(1..6)?.split_once(':').filter(|(hours, _)| hours.len() == 2)?;
            let digits =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse::<i64>().ok());
            let (hours, minutes) = (digits(hours)??, digits(minutes)??);
            (hours < 24 && minutes < 60).then_some(sign * (hours * 60 + minutes))
        };
        let Some(minutes) = parsed() else {
            return self.refused(&format!("cannot use {whole:?} as UTC offset"));
        };
        self.rest = whole.get(6..).unwrap_or("");
        Ok(minutes)
    }
}

fn parse(arguments: &[Value], argument: usize) -> Result<Time, Refusal> {
    let mut reader = Reader { rest: text(arguments, argument), argument };
    let year = reader.number(4, 0..=9999, "year")?;
    reader.sign('-')?;
    let month = reader.number(2, 1..=12, "month")?;
    reader.sign('-')?;
    let day = reader.number(2, 1..=31, "day of month")?;
    if day > days_in(year, month) {
        return reader.refused("day out of range");
    }
    reader.sign('T')?;
    let hour = reader.number(2, 0..=23, "hour")?;
    reader.sign(':')?;
    let minute = reader.number(2, 0..=59, "minute")?;
    reader.sign(':')?;
    let second = reader.number(2, 0..=59, "second")?;
    let fraction = reader.fraction()?;
    let offset_minutes = reader.offset_minutes()?;
    if !reader.rest.is_empty() {
        return reader.refused(&format!("extra text {:?}", reader.rest));
    }
    let seconds =
        days(year, month, day) * DAY_SECONDS + hour * 3600 + (minute - offset_minutes) * 60 + second;
    Ok(Time { nanoseconds: i128::from(seconds) * NANOSECONDS + fraction, offset_minutes })
}

/// Reads a duration as Go writes it: `-1h30m`, `1.5s`, `100ms`.
fn duration(arguments: &[Value], argument: usize) -> Result<i128, Refusal> {
    let whole = text(arguments, argument);
    let bad =
        || Refusal { argument: Some(argument), reason: format!("{whole:?} is no duration, as `1h30m` is") };
    let (negative, mut rest) = match whole.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, whole.strip_prefix('+').unwrap_or(whole)),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(bad());
    }
    let mut total: i128 = 0;
    while !rest.is_empty() {
        let end = rest.find(|letter: char| !letter.is_ascii_digit() && letter != '.').ok_or_else(bad)?;
        let (number, after) = rest.split_at(end);
        let unit_end =
            after.find(|letter: char| letter.is_ascii_digit() || letter == '.').unwrap_or(after.len());
        let unit: i128 = match &after[..unit_end] {
            "ns" => 1,
            "us" | "µs" | "μs" => 1_000,
            "ms" => 1_000_000,
            "s" => NANOSECONDS,
            "m" => 60 * NANOSECONDS,
            "h" => 3600 * NANOSECONDS,
            _ => return Err(bad()),
        };
        total = total.checked_add(scaled(number, unit).ok_or_else(bad)?).ok_or_else(bad)?;
        rest = &after[unit_end..];
    }
    // Go's durations have 64 bits.
    i64::try_from(total).map_err(|_| bad())?;
    Ok(if negative { -total } else { total })
}

/// A number with a fraction, in a unit; none when it has no digits or is beyond measure.
fn scaled(number: &str, unit: i128) -> Option<i128> {
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if whole.len() + fraction.len() == 0 || fraction.contains('.') {
        return None;
    }
    let whole = if whole.is_empty() { 0 } else { whole.parse::<i64>().ok()? };
    let fraction: String = fraction.chars().take(15).collect();
    let divisor = 10i128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction = if fraction.is_empty() { 0 } else { fraction.parse::<i128>().ok()? };
    Some(i128::from(whole) * unit + fraction * unit / divisor)
}

fn time_add(arguments: &[Value]) -> Yield {
    let (time, duration) = (parse(arguments, 0)?, duration(arguments, 1)?);
    let sum = Time { nanoseconds: time.nanoseconds + duration, ..time };
    if !(0..=9999).contains(&sum.local().year) {
        return refuse(1, "the year of the result would not have four digits");
    }
    Ok(sum.rfc3339().into())
}

fn time_compare(arguments: &[Value]) -> Yield {
    let order = parse(arguments, 0)?.nanoseconds.cmp(&parse(arguments, 1)?.nanoseconds);
    Ok(Value::from(i64::from(order as i8)))
}

fn format_date(arguments: &[Value]) -> Yield {
    let time = parse(arguments, 1)?;
    let local = time.local();
    let mut rest = text(arguments, 0);
    let mut result = String::new();
    while let Some(first) = rest.chars().next() {
        if let Some(quoted) = rest.strip_prefix('\'') {
            rest = literal(quoted, &mut result)?;
            continue;
        }
        if !first.is_ascii_alphabetic() {
            result.push(first);
            rest = &rest[first.len_utf8()..];
            continue;
        }
        let end = rest.find(|letter| letter != first).unwrap_or(rest.len());
        result.push_str(&verb(&rest[..end], first, &local, time)?);
        rest = &rest[end..];
    }
    Ok(result.into())
}

/// Copies text in single quotes, in which two quotes are one; returns what follows.
fn literal<'a>(quoted: &'a str, result: &mut String) -> Result<&'a str, Refusal> {
    if let Some(rest) = quoted.strip_prefix('\'') {
        result.push('\'');
        return Ok(rest);
    }
    let mut rest = quoted;
    loop {
        let Some(end) = rest.find('\'') else { return refuse(0, "unterminated literal '") };
        result.push_str(&rest[..end]);
        rest = &rest[end + 1..];
        let Some(after) = rest.strip_prefix('\'') else { return Ok(rest) };
        result.push('\'');
        rest = after;
    }
}

fn verb(token: &str, letter: char, local: &Local, time: Time) -> Result<String, Refusal> {
    let digits = |number: i64, expected: &str| match token.len() {
        1 => Ok(number.to_string()),
        2 => Ok(format!("{number:02}")),
        _ => refuse(0, format!("invalid date format verb {token:?}: {expected}")),
    };
    let name = |names: &[&str], at: usize, length: usize| {
        let name = names.get(at).copied().unwrap_or_default();
        name.get(..length).unwrap_or(name).to_owned()
    };
    match (letter, token.len()) {
        ('Y', 2) => Ok(format!("{:02}", local.year % 100)),
        ('Y', 4) => Ok(format!("{:04}", local.year)),
        ('Y', _) => {
            refuse(0, format!("invalid date format verb {token:?}: year must either be \"YY\" or \"YYYY\""))
        }
        ('M', 3) => Ok(name(&MONTHS, local.month, 3)),
        ('M', 4) => Ok(name(&MONTHS, local.month, usize::MAX)),
        ('M', _) => digits(
            i64::try_from(local.month).unwrap_or(0) + 1,
            "month must be \"M\", \"MM\", \"MMM\", or \"MMMM\"",
        ),
        ('D', _) => digits(local.day, "day of month must either be \"D\" or \"DD\""),
        ('E', 3) => Ok(name(&WEEKDAYS, local.weekday, 3)),
        ('E', 4) => Ok(name(&WEEKDAYS, local.weekday, usize::MAX)),
        ('E', _) => refuse(
            0,
            format!("invalid date format verb {token:?}: day of week must either be \"EEE\" or \"EEEE\""),
        ),
        ('h', _) => digits(local.hour, "24-hour must either be \"h\" or \"hh\""),
        ('H', _) => digits((local.hour + 11) % 12 + 1, "12-hour must either be \"H\" or \"HH\""),
        ('A', 2) => Ok(if local.hour < 12 { "AM" } else { "PM" }.to_owned()),
        ('a', 2) => Ok(if local.hour < 12 { "am" } else { "pm" }.to_owned()),
        ('A' | 'a', _) => {
            refuse(0, format!("invalid date format verb {token:?}: must be \"{letter}{letter}\""))
        }
        ('m', _) => digits(local.minute, "minute must either be \"m\" or \"mm\""),
        ('s', _) => digits(local.second, "second must either be \"s\" or \"ss\""),
        ('Z', 1) => Ok(time.zone(":", "Z")),
        ('Z', 3) => Ok(time.zone("", "UTC")),
        ('Z', 4) => Ok(time.zone("", "")),
        ('Z', 5) => Ok(time.zone(":", "")),
        ('Z', _) => {
            refuse(0, format!("invalid date format verb {token:?}: timezone must be Z, ZZZZ, or ZZZZZ"))
        }
        _ => refuse(0, format!("invalid date format verb {token:?}")),
    }
}

/// Reads a time as YAML writes it, with short parts or without a zone; returns it as RFC 3339.
pub(super) fn lenient(source: &str) -> Option<String> {
    let (date, clock) = match source.split_once(['T', 't']) {
        Some((date, clock)) => (date, Some((clock, true))),
        None => match source.split_once(' ') {
            Some((date, clock)) => (date, Some((clock, false))),
            None => (source, None),
        },
    };
    let mut parts = date.splitn(3, '-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let two = |part: &str| part.parse::<u8>().ok().filter(|_| part.len() <= 2 && !part.starts_with('+'));
    if year.len() != 4 {
        return None;
    }
    let date = format!("{year}-{:02}-{:02}", two(month)?, two(day)?);
    let Some((clock, zoned)) = clock else { return whole_time(&format!("{date}T00:00:00Z")) };
    let zone_at = if zoned { clock.find(['Z', '+', '-'])? } else { clock.len() };
    let (clock, zone) = clock.split_at(zone_at);
    let mut parts = clock.splitn(3, ':');
    let (hour, minute, second) = (parts.next()?, parts.next()?, parts.next()?);
    let (second, fraction) = second.split_at(second.find('.').unwrap_or(second.len()));
    let zone = if zoned { zone } else { "Z" };
    whole_time(&format!("{date}T{:02}:{:02}:{:02}{fraction}{zone}", two(hour)?, two(minute)?, two(second)?))
}

fn whole_time(source: &str) -> Option<String> {
    parse(&[source.into()], 0).ok().map(Time::rfc3339)
}
