//! Durations as people write them: a whole number and one unit.

use chrono::TimeDelta;

/// Reads `90s`, `15m`, `1h` or `7d`.
///
/// # Errors
/// Says what is wrong with the text; zero and anything above ten years are refused.
pub fn parse(text: &str) -> Result<TimeDelta, String> {
    let unit = text.chars().last().ok_or_else(|| "a duration is a whole number and one of s, m, h, d".to_owned())?;
    let seconds = match unit {
        's' => 1,
        'm' => 60,
        'h' => 3_600,
        'd' => 86_400,
        _ => return Err(format!("{text:?} does not end in one of s, m, h, d")),
    };
    let count: i64 =
        text[..text.len() - 1].parse().map_err(|_| format!("{text:?} does not start with a whole number"))?;
    let total = count.checked_mul(seconds).filter(|total| (1..=315_360_000).contains(total));
    total.map(TimeDelta::seconds).ok_or_else(|| format!("{text:?} is not between 1 second and 10 years"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_or_refused() {
        assert_eq!(parse("15m"), Ok(TimeDelta::minutes(15)));
        for wrong in ["", "m", "1", "-1h", "0s", "1.5h", "99999999999d", "1é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
