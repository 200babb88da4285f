//! Durations as people write them in delivery settings.

use crate::Invalid;

/// Seconds of `PT0.2S`, `P1DT1H`, `PT1H30M`, or of a number with a unit (`200ms`, `30s`, `1h30m`).
///
/// The hub reads them with the contract's `parse_duration`; a test in the store, which knows both, holds them alike.
pub(crate) fn seconds(text: &str) -> Option<f64> {
    const DAYS: &[(&str, f64)] = &[("D", 86_400.0)];
    const TIME: &[(&str, f64)] = &[("H", 3_600.0), ("M", 60.0), ("S", 1.0)];
    const UNITS: &[(&str, f64)] = &[
        ("ms", 0.001),
        ("s", 1.0),
        ("m", 60.0),
        ("h", 3_600.0),
        ("d", 86_400.0),
    ];
    let text = text.trim();
    let upper = text.to_ascii_uppercase();
    let Some(iso) = upper.strip_prefix('P') else {
        return sum(&text.to_ascii_lowercase(), UNITS)?;
    };
    let (days, time) = iso.split_once('T').unwrap_or((iso, ""));
    match (sum(days, DAYS)?, sum(time, TIME)?) {
        (None, None) => None,
        (days, time) => Some(days.unwrap_or_default() + time.unwrap_or_default()),
    }
}

/// `Some(None)` for an empty text, `None` for a wrong one.
fn sum(text: &str, units: &[(&str, f64)]) -> Option<Option<f64>> {
    let mut rest = text;
    let mut total = None;
    while !rest.is_empty() {
        let number_end = rest.find(|c: char| c.is_ascii_alphabetic())?;
        let (number, tail) = rest.split_at(number_end);
        let unit_end = tail
            .find(|c: char| !c.is_ascii_alphabetic())
            .unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(unit_end);
        if !number.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
            return None;
        }
        let factor = units.iter().find(|(name, _)| *name == unit)?.1;
        total = Some(total.unwrap_or(0.0) + number.parse::<f64>().ok()? * factor);
        rest = tail;
    }
    Some(total)
}

/// Checks that a field is a duration of `min` to `max` seconds.
pub(crate) fn check_duration(field: &str, text: &str, min: f64, max: f64) -> Result<(), Invalid> {
    let shown: String = text.chars().take(40).collect();
    let Some(found) = seconds(text) else {
        let problem = format!(
            "must be a duration, ISO 8601 (PT0.2S, PT1M) or a number with a unit (200ms, 30s, 5m, 1h), not {shown:?}"
        );
        return Err(Invalid::new(field, problem));
    };
    if (min..=max).contains(&found) {
        return Ok(());
    }
    Err(Invalid::new(
        field,
        format!("must be PT{min}S to PT{max}S, not {shown:?}"),
    ))
}
