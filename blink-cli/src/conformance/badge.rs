//! Badge for the README of a backend: an SVG with the result of a run.

use super::report::{Report, Totals};

/// Width of a character in pixels, as the usual sans-serif fonts have it on average at 11 px.
const CHARACTER: usize = 7;
/// Space beside a text in pixels.
const MARGIN: usize = 12;
const LABEL: &str = "blink conformance";

/// Builds the badge. Scenarios that a backend refuses by its declared capabilities count apart.
pub(super) fn svg(report: &Report) -> String {
    let Totals { passed, failed, unsupported, .. } = report.totals;
    let (text, color) = match (passed, failed, unsupported) {
        (0, 0, 0) => ("no scenario ran".to_owned(), "#6a7286"),
        (_, 0, 0) => (format!("{passed} passed"), "#176f3c"),
        (_, 0, _) => (format!("{passed} passed, {unsupported} not supported"), "#176f3c"),
        _ => (format!("{failed} of {} failed", passed + failed), "#a8201a"),
    };
    let [left, right] = [LABEL, &text].map(|text| text.chars().count() * CHARACTER + MARGIN);
    let (width, [first, second]) = (left + right, [left / 2, left + right / 2]);
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="20" role="img" aria-label="{LABEL}: {text}">
<title>{LABEL}: {text} (version {})</title>
<rect width="{width}" height="20" rx="3" fill="#3a4152"/>
<path d="M{left} 0h{}a3 3 0 0 1 3 3v14a3 3 0 0 1-3 3H{left}z" fill="{color}"/>
<g fill="#fff" text-anchor="middle" font-family="Verdana, DejaVu Sans, sans-serif" font-size="11">
<text x="{first}" y="14">{LABEL}</text>
<text x="{second}" y="14">{text}</text>
</g>
</svg>
"##,
        report.version,
        right - 3,
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_badge_tells_failures_first_and_what_is_not_supported() {
        let mut report = super::super::report::tests::example();
        assert!(svg(&report).contains(">1 of 2 failed<"));
        report.totals.failed = 0;
        assert!(svg(&report).contains(">1 passed, 1 not supported<"));
        report.totals.unsupported = 0;
        assert!(svg(&report).contains(">1 passed<"));
        report.totals.passed = 0;
        assert!(svg(&report).contains(">no scenario ran<"));
    }
}
