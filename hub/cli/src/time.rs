//! Times as people read them: Go's UnixDate and RFC3339Nano, in the zone of the machine.

use std::fmt::Display;

use chrono::{DateTime, Local, TimeDelta, TimeZone, Utc};
use chrono_tz::Tz;

/// A moment as people say it: so long ago (`5m`, `2h`), or a time of RFC 3339.
pub(crate) fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    if let Ok(ago) = dispatch_contract::parse_duration(text) {
        let ago = TimeDelta::from_std(ago).unwrap_or(TimeDelta::MAX);
        return Ok(Utc::now().checked_sub_signed(ago).unwrap_or_default());
    }
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .map_err(|_| "is neither a duration (5m, 2h) nor a time (2026-01-31T12:00:00Z)".to_owned())
}

/// `Sat Dec  8 16:16:24 JST 2018`, from Unix seconds.
pub(crate) fn unix_date(seconds: i64) -> String {
    let Some(time) = DateTime::from_timestamp(seconds, 0).filter(|t| t.timestamp() > 0) else {
        return String::new();
    };
    match zone() {
        Some(zone) => unix_date_in(time, &zone),
        None => unix_date_in(time, &Local),
    }
}

/// `2018-12-08T16:35:30.003557189+09:00`, from Unix nanoseconds.
pub(crate) fn rfc3339_nano(nanoseconds: i64) -> String {
    if nanoseconds <= 0 {
        return String::new();
    }
    let time = DateTime::from_timestamp_nanos(nanoseconds);
    match zone() {
        Some(zone) => rfc3339_nano_in(time, &zone),
        None => rfc3339_nano_in(time, &Local),
    }
}

/// The named zone of this machine: `TZ` first, then the system's setting.
fn zone() -> Option<Tz> {
    let name = match std::env::var("TZ") {
        Ok(name) if !name.is_empty() => name.trim_start_matches(':').to_owned(),
        _ => iana_time_zone::get_timezone().ok()?,
    };
    name.parse().ok()
}

fn unix_date_in<Z: TimeZone<Offset: Display>>(time: DateTime<Utc>, zone: &Z) -> String {
    time.with_timezone(zone)
        .format("%a %b %e %H:%M:%S %Z %Y")
        .to_string()
}

fn rfc3339_nano_in<Z: TimeZone<Offset: Display>>(time: DateTime<Utc>, zone: &Z) -> String {
    let time = time.with_timezone(zone);
    let fraction = time.format("%.9f").to_string();
    let fraction = fraction.trim_end_matches('0').trim_end_matches('.');
    let offset = time.format("%:z").to_string();
    let offset = if offset == "+00:00" { "Z" } else { &offset };
    format!("{}{fraction}{offset}", time.format("%Y-%m-%dT%H:%M:%S"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_read_as_go_printed_them() {
        let at = |seconds| DateTime::from_timestamp(seconds, 0).unwrap();

        assert_eq!(
            unix_date_in(at(1_544_253_384), &chrono_tz::Asia::Tokyo),
            "Sat Dec  8 16:16:24 JST 2018"
        );
        assert_eq!(
            unix_date_in(at(1_544_253_384), &Tz::UTC),
            "Sat Dec  8 07:16:24 UTC 2018"
        );
        assert_eq!(unix_date(0), "");
    }

    #[test]
    fn run_times_keep_their_nanoseconds_and_no_trailing_zeros() {
        let table = [
            (
                1_544_254_530_003_557_189,
                "2018-12-08T16:35:30.003557189+09:00",
                "2018-12-08T07:35:30.003557189Z",
            ),
            (
                1_544_254_530_500_000_000,
                "2018-12-08T16:35:30.5+09:00",
                "2018-12-08T07:35:30.5Z",
            ),
            (
                1_544_254_530_000_000_000,
                "2018-12-08T16:35:30+09:00",
                "2018-12-08T07:35:30Z",
            ),
        ];

        for (nanoseconds, tokyo, utc) in table {
            let time = DateTime::from_timestamp_nanos(nanoseconds);
            assert_eq!(rfc3339_nano_in(time, &chrono_tz::Asia::Tokyo), tokyo);
            assert_eq!(rfc3339_nano_in(time, &Tz::UTC), utc);
        }
        assert_eq!(rfc3339_nano(-62_135_596_800), "");
    }
}
