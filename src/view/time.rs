//! Formats points in time and durations.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::clock::Moment;

const DAY: u64 = 86_400;

/// The last time with a year of four digits, since the epoch; later times are shown as this one.
const LATEST: Duration = Duration::from_millis(253_402_300_799_999);

/// `2025-10-09T08:54:57.000Z`.
pub(super) fn iso(at: Moment) -> String {
    humantime::format_rfc3339_millis(system_time(at)).to_string()
}

/// `Thu, 09 Oct 2025 08:54:57 UTC`, as in the ConfigCat Proxy.
pub(super) fn rfc1123(at: Moment) -> String {
    httpdate::fmt_http_date(system_time(at)).replace("GMT", "UTC")
}

fn system_time(at: Moment) -> SystemTime {
    UNIX_EPOCH.checked_add(at.wall.min(LATEST)).unwrap_or(UNIX_EPOCH)
}

/// `08:54:57`, in UTC.
pub(super) fn clock(wall: Duration) -> String {
    let second = wall.as_secs() % DAY;
    format!("{:02}:{:02}:{:02}", second / 3600, second / 60 % 60, second % 60)
}

/// A duration in one or two units: `80 µs`, `3.1 ms`, `41 ms`, `3.0 s`, `2m 05s`, `3h 07m`, `5d 02h`.
pub(super) fn length(time: Duration) -> String {
    let (seconds, milliseconds) = (time.as_secs(), time.as_secs_f64() * 1000.0);
    match seconds {
        0 if time.is_zero() => "0 ms".to_owned(),
        0 if milliseconds < 1.0 => format!("{} \u{b5}s", time.as_micros().max(1)),
        0 if milliseconds < 9.95 => format!("{milliseconds:.1} ms"),
        0 => format!("{milliseconds:.0} ms"),
        1..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{}m {:02}s", seconds / 60, seconds % 60),
        3600..DAY => format!("{}h {:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d {:02}h", seconds / DAY, seconds / 3600 % 24),
    }
}

/// The same without fractions of a second.
pub(super) fn rough(time: Duration) -> String {
    match time.as_secs() {
        seconds @ 0..60 => format!("{seconds} s"),
        _ => length(time),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Moment {
        Moment { wall: Duration::from_secs(seconds), ..Moment::default() }
    }

    #[test]
    fn dates() {
        for (seconds, text) in [
            (0, "Thu, 01 Jan 1970 00:00:00 UTC"),
            (951_782_400, "Tue, 29 Feb 2000 00:00:00 UTC"),
            (951_868_800, "Wed, 01 Mar 2000 00:00:00 UTC"),
            (1_685_378_200, "Mon, 29 May 2023 16:36:40 UTC"),
            (1_760_000_095, "Thu, 09 Oct 2025 08:54:55 UTC"),
            (4_107_542_399, "Sun, 28 Feb 2100 23:59:59 UTC"),
            (4_107_542_400, "Mon, 01 Mar 2100 00:00:00 UTC"),
        ] {
            assert_eq!(rfc1123(at(seconds)), text);
        }
        assert_eq!(iso(at(1_760_000_097)), "2025-10-09T08:54:57.000Z");
        assert_eq!(iso(at(u64::MAX)), "9999-12-31T23:59:59.999Z");
        assert!(rfc1123(at(u64::MAX)).ends_with(" UTC"));
    }

    #[test]
    fn lengths() {
        for (nanoseconds, text) in [(0, "0 ms"), (90, "1 \u{b5}s"), (42_700, "42 \u{b5}s"), (999_999, "999 \u{b5}s"), (1_000_000, "1.0 ms")]
        {
            assert_eq!(length(Duration::from_nanos(nanoseconds)), text);
        }
        for (milliseconds, text) in [
            (8, "8.0 ms"),
            (41, "41 ms"),
            (3_000, "3.0 s"),
            (59_900, "59 s"),
            (125_000, "2m 05s"),
            (11_220_000, "3h 07m"),
            (439_200_000, "5d 02h"),
        ] {
            assert_eq!(length(Duration::from_millis(milliseconds)), text);
        }
    }
}
