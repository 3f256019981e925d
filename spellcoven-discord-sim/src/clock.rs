//! Wall time: read once, at the start, and the date formats Discord uses.

/// Unix milliseconds of the machine's clock: the simulator's start when none is set.
pub(crate) fn wall_clock_ms() -> u64 {
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place that reads wall time; everything after is start + elapsed"
    )]
    let now = std::time::SystemTime::now();
    now.duration_since(std::time::UNIX_EPOCH)
        .map_or(0, |since| {
            u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
        })
}

struct Civil {
    year: i64,
    month: u64,
    day: u64,
    weekday: usize,
    hour: u64,
    minute: u64,
    second: u64,
}

/// Gregorian date of a Unix time, by counting in 400-year cycles that begin on 1 March.
fn civil(unix_ms: u64) -> Civil {
    let seconds = unix_ms / 1000;
    let days = seconds / 86_400;
    let shifted = days + 719_468;
    let cycle = shifted / 146_097;
    let day_of_cycle = shifted % 146_097;
    let year_of_cycle = (day_of_cycle - day_of_cycle / 1_460 + day_of_cycle / 36_524
        - day_of_cycle / 146_096)
        / 365;
    let day_of_year =
        day_of_cycle - (365 * year_of_cycle + year_of_cycle / 4 - year_of_cycle / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 {
        month_from_march + 3
    } else {
        month_from_march - 9
    };
    let year = year_of_cycle + cycle * 400 + u64::from(month <= 2);
    Civil {
        year: i64::try_from(year).unwrap_or(i64::MAX),
        month,
        day,
        // 1970-01-01 was a Thursday; the week here begins on Monday.
        weekday: usize::try_from((days + 3) % 7).unwrap_or(0),
        hour: seconds / 3600 % 24,
        minute: seconds / 60 % 60,
        second: seconds % 60,
    }
}

/// ISO 8601 with microseconds and `+00:00`, as Discord writes timestamps (observed).
pub(crate) fn iso8601(unix_ms: u64) -> String {
    let c = civil(unix_ms);
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}.{:03}000+00:00",
        c.year,
        c.month,
        c.day,
        c.hour,
        c.minute,
        c.second,
        unix_ms % 1000
    )
}

/// Unix milliseconds of an ISO 8601 time with a date, a time of day and an offset (`Z` or `+hh:mm`), as clients write it.
pub(crate) fn parse_iso8601(text: &str) -> Option<u64> {
    let (date, rest) = text.split_once(['T', ' '])?;
    let at = rest.find(['Z', 'z', '+', '-']).unwrap_or(rest.len());
    let (time, zone) = rest.split_at(at);
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (year, month, day) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let mut clock = time.splitn(3, ':');
    let hour: i64 = clock.next()?.parse().ok()?;
    let minute: i64 = clock.next()?.parse().ok()?;
    let (second, fraction) = clock.next().map_or(("0", ""), |second| {
        second.split_once('.').unwrap_or((second, ""))
    });
    let second: i64 = second.parse().ok()?;
    let digits: String = fraction.chars().chain("000".chars()).take(3).collect();
    let ms: i64 = digits.parse().ok()?;
    let in_range = (1970..=9999).contains(&year)
        && (1..=12).contains(&month)
        && (1..=31).contains(&day)
        && (0..24).contains(&hour)
        && (0..60).contains(&minute)
        && (0..=60).contains(&second);
    if !in_range {
        return None;
    }
    // Days since the Unix epoch, with years that begin in March.
    let (y, m) = if month > 2 {
        (year, month - 3)
    } else {
        (year - 1, month + 9)
    };
    let days = y * 365 + y / 4 - y / 100 + y / 400 + (153 * m + 2) / 5 + day - 1 - 719_468;
    let offset = match zone.get(1..) {
        None | Some("") => 0,
        Some(zone_time) => {
            let (hours, minutes) = zone_time.split_once(':').unwrap_or((zone_time, "0"));
            let (hours, minutes) = (hours.parse::<u8>().ok()?, minutes.parse::<u8>().ok()?);
            if hours >= 24 || minutes >= 60 {
                return None;
            }
            let minutes = i64::from(hours) * 60 + i64::from(minutes);
            if zone.starts_with('-') {
                -minutes
            } else {
                minutes
            }
        }
    };
    let seconds = days * 86_400 + hour * 3600 + (minute - offset) * 60 + second;
    u64::try_from(seconds * 1000 + ms).ok()
}

/// The `Date` header's format (RFC 9110, IMF-fixdate).
pub(crate) fn http_date(unix_ms: u64) -> String {
    const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];
    const MONTHS: [&str; 12] = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    let c = civil(unix_ms);
    let month = usize::try_from(c.month.saturating_sub(1)).unwrap_or(0);
    format!(
        "{}, {:02} {} {:04} {:02}:{:02}:{:02} GMT",
        DAYS.get(c.weekday).unwrap_or(&"Mon"),
        c.day,
        MONTHS.get(month).unwrap_or(&"Jan"),
        c.year,
        c.hour,
        c.minute,
        c.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_written_as_discord_writes_them() {
        assert_eq!(iso8601(0), "1970-01-01T00:00:00.000000+00:00");
        assert_eq!(iso8601(951_782_400_123), "2000-02-29T00:00:00.123000+00:00");
        assert_eq!(
            iso8601(1_795_392_000_000),
            "2026-11-23T00:00:00.000000+00:00"
        );
        for ms in [0, 951_782_400_123, 1_795_392_000_000, 1_709_164_799_000] {
            assert_eq!(parse_iso8601(&iso8601(ms)), Some(ms));
        }
        assert_eq!(
            parse_iso8601("2026-11-23T01:30:00+01:30"),
            Some(1_795_392_000_000)
        );
        assert_eq!(
            parse_iso8601("2026-11-23T00:00:00.5Z"),
            Some(1_795_392_000_500)
        );
        for wrong in [
            "",
            "tomorrow",
            "2026-13-01T00:00:00Z",
            "2026-11-23",
            "2026-11-23T99:00Z",
            "2026-11-23T00:00:00+24:00",
            "2026-11-23T00:00:00-00:60",
            "2026-11-23T00:00:00+9000000000000000000:00",
            "9999999999999999999-11-23T00:00:00Z",
        ] {
            assert_eq!(parse_iso8601(wrong), None, "{wrong}");
        }
        assert_eq!(http_date(784_111_777_000), "Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
