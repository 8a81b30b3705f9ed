//! Picture of the table of scenarios over pairings, for documents: an SVG.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::report::{Report, Totals};

/// Sizes in pixels.
const ROW: usize = 14;
const COLUMN: usize = 16;
const CHARACTER: usize = 7;
const MARGIN: usize = 12;

/// Outcomes with their colour and meaning, in the order of the legend.
const OUTCOMES: [(&str, &str, &str); 4] = [
    ("passed", "#2f9e5b", "passed"),
    ("failed", "#c92a2a", "failed"),
    ("unsupported", "#aeb4c2", "not supported"),
    ("waiting", "#e3b341", "waiting"),
];

/// Builds the picture: a row for each scenario, a column for each pairing.
pub(super) fn svg(report: &Report) -> String {
    let mut rows: BTreeMap<(u8, &str), BTreeMap<&str, &str>> = BTreeMap::new();
    for row in &report.rows {
        rows.entry((row.number, &row.scenario)).or_default().insert(&row.pairing, row.outcome);
    }
    let widest = |lengths: &mut dyn Iterator<Item = usize>| lengths.max().unwrap_or(0) * CHARACTER;
    let labels = widest(&mut rows.keys().map(|(_, scenario)| scenario.chars().count())) + 2 * MARGIN;
    let names = widest(&mut report.pairings.iter().map(|pairing| pairing.name.chars().count() + 4));
    let legend_top = 2 * MARGIN + ROW;
    let top = legend_top + (report.pairings.len() + 2) * ROW;
    let width = (labels + report.pairings.len() * COLUMN + MARGIN).max(names + 2 * MARGIN).max(620);
    let height = top + rows.len() * ROW + MARGIN;
    let mut texts = String::new();
    let mut cells: BTreeMap<&str, String> = BTreeMap::new();
    let mut text = |x: usize, y: usize, content: &str| {
        writeln!(texts, r#"<text x="{x}" y="{y}">{}</text>"#, escaped(content)).expect("a string takes everything");
    };
    let Totals { passed, failed, unsupported, pairings, .. } = report.totals;
    let summary = format!("{passed} passed, {failed} failed, {unsupported} not supported, over {pairings} pairings");
    text(MARGIN, MARGIN + ROW, &format!("blink conformance {}: {summary}", report.version));
    for (n, pairing) in report.pairings.iter().enumerate() {
        text(MARGIN, legend_top + (n + 1) * ROW, &format!("{:>2}  {}", n + 1, pairing.name));
        text(labels + n * COLUMN + 1, top - 4, &(n + 1).to_string());
    }
    for (line, ((_, scenario), outcomes)) in rows.iter().enumerate() {
        let y = top + line * ROW;
        text(MARGIN, y + ROW - 3, scenario);
        for (n, pairing) in report.pairings.iter().enumerate() {
            let Some(outcome) = outcomes.get(pairing.name.as_str()) else { continue };
            let path = cells.entry(*outcome).or_default();
            write!(path, "M{} {}h13v11h-13z", labels + n * COLUMN, y + 2).expect("a string takes everything");
        }
    }
    let mut legend = String::new();
    let mut x = width - MARGIN;
    for (_, color, meaning) in OUTCOMES.iter().rev() {
        x = x.saturating_sub((meaning.len() + 4) * CHARACTER);
        let y = legend_top + ROW;
        write!(
            legend,
            r#"<path fill="{color}" d="M{x} {}h13v11h-13z"/><text x="{}" y="{y}">{meaning}</text>"#,
            y - 10,
            x + 18
        )
        .expect("a string takes everything");
    }
    let paths: String = OUTCOMES
        .iter()
        .filter_map(|(outcome, color, _)| Some(format!("<path fill=\"{color}\" d=\"{}\"/>\n", cells.get(outcome)?)))
        .collect();
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>blink conformance: {summary}</title>
<rect width="{width}" height="{height}" rx="6" fill="#fff"/>
<g fill="#1d2330" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="11">
{texts}{legend}
</g>
{paths}</svg>
"##
    )
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_has_every_scenario_pairing_and_outcome() {
        let mut report = super::super::report::tests::example();
        report.rows[0].scenario = "01-a<b".to_owned();
        let picture = svg(&report);
        for part in [">01-a&lt;b<", ">02-scenario<", "x~y::m~m", "1 passed, 1 failed, 1 not supported, over 2 pairings"]
        {
            assert!(picture.replace('\u{a0}', " ").contains(part), "no {part} in\n{picture}");
        }
        // Four cases, and the legend.
        assert_eq!(picture.matches("h13v11h-13z").count(), 8);
        assert_eq!(picture.matches("<text").count(), picture.matches("</text>").count());
    }
}
