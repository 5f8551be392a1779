//! Numbers of bytes as people write them: a whole number and one unit.

const UNITS: [(&str, u32); 5] = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40), ("B", 0)];

/// Reads `512B`, `256KiB`, `16MiB`, `4GiB` or `1TiB` into bytes.
///
/// # Errors
/// Says what is wrong with the text; 2^64 bytes and more are refused.
pub fn parse(text: &str) -> Result<u64, String> {
    let wrong = || format!("{text:?} is not a whole number of B, KiB, MiB, GiB or TiB");
    let with_unit = UNITS.iter().find_map(|(unit, shift)| Some((text.trim().strip_suffix(unit)?, *shift)));
    let (digits, shift) = with_unit.ok_or_else(wrong)?;
    let count: u64 = digits.trim().parse().map_err(|_| wrong())?;
    count.checked_mul(1 << shift).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_bytes_are_read_or_refused() {
        for (text, count) in [("0B", 0), ("512 B", 512), ("1KiB", 1 << 10), (" 16GiB ", 16 << 30), ("2TiB", 2 << 40)] {
            assert_eq!(parse(text), Ok(count), "{text}");
        }
        for wrong in ["", "B", "16", "-1B", "1.5GiB", "1GB", "16777216TiB", "1é"] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
