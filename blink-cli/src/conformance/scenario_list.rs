//! Lists of scenario numbers: `1-20,44`.

use std::collections::BTreeSet;

/// Parses a list of numbers and ranges.
///
/// # Errors
/// A sentence that names the invalid part.
pub(super) fn parse(list: &str) -> Result<BTreeSet<u8>, String> {
    let mut numbers = BTreeSet::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| {
            text.trim()
                .parse::<u8>()
                .map_err(|_| format!("`{part}` in --scenarios is not a number or a range like 1-20"))
        };
        let (first, last) = (number(first)?, number(last)?);
        if first > last {
            return Err(format!("the range `{part}` in --scenarios ends before it begins"));
        }
        numbers.extend(first..=last);
    }
    Ok(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_and_ranges_are_parsed_and_all_else_is_refused() {
        let numbers = |list: &str| parse(list).map(|numbers| numbers.into_iter().collect::<Vec<_>>());
        assert_eq!(numbers("3, 1-2,44").unwrap(), [1, 2, 3, 44]);
        for wrong in ["", "a", "1-", "-2", "5-3", "300", "1,,2"] {
            assert!(numbers(wrong).is_err(), "{wrong}");
        }
    }
}
