//! QR codes (ISO/IEC 18004) for terminals.

use qrcode::render::unicode::Dense1x2;
use qrcode::{EcLevel, QrCode};

/// Columns of a terminal that a code has to fit into.
const COLUMNS: usize = 80;

/// Lines of half blocks that show `text`, light on a dark background as on most terminals; `None`
/// where they would not fit into 80 columns.
///
/// Upper-case letters, digits and `:` take 5.5 bits each, other characters 8.
pub(crate) fn code(text: &str) -> Option<Vec<String>> {
    let code = QrCode::with_error_correction_level(text, EcLevel::L).ok()?;
    // Scanners expect dark modules on light ground: light modules are drawn, with the quiet zone.
    let (light, dark) = (Dense1x2::Dark, Dense1x2::Light);
    let image = code.render::<Dense1x2>().light_color(light).dark_color(dark).quiet_zone(true).build();
    let lines: Vec<_> = image.lines().map(str::to_owned).collect();
    lines.iter().all(|line| line.chars().count() <= COLUMNS).then_some(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_fit_80_columns_or_are_left_out() {
        let lines = code(&format!("BLINK:{}", "AB2".repeat(130))).unwrap();
        assert!(lines.iter().all(|line| line.chars().count() == lines[0].chars().count()));
        assert!(lines[0].chars().count() <= COLUMNS && lines[0].contains('█'));
        assert_eq!(code(&"x".repeat(1_000)), None);
        assert_eq!(code(&"x".repeat(10_000)), None);
    }
}
