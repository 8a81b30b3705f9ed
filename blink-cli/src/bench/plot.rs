//! Plot of delay over time.

use std::fmt::Write as _;

/// Width and height of a panel in px, and its margins.
const SIZE: (f64, f64) = (960.0, 220.0);
const LEFT: f64 = 50.0;
const TOP: f64 = 26.0;
const BOTTOM: f64 = 24.0;

/// Colours that are distinguishable with any colour vision.
const COLOURS: [&str; 2] = ["#b0b0b0", "#0060c0"];

/// One case: lines over the same axes.
pub(super) struct Panel {
    pub(super) title: String,
    /// Name, and points in s and ms.
    pub(super) lines: Vec<(String, Vec<(f64, f64)>)>,
}

/// Draws the panels one below the other, as an SVG 1.1 document.
pub(super) fn svg(panels: &[Panel]) -> String {
    let (width, height) = (SIZE.0, SIZE.1 * panels.len() as f64);
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n"
    );
    for (n, panel) in panels.iter().enumerate() {
        let drawn = write!(svg, "<g transform=\"translate(0,{})\">\n{}</g>\n", SIZE.1 * n as f64, draw(panel));
        drawn.expect("a String takes everything");
    }
    svg + "</svg>\n"
}

fn draw(panel: &Panel) -> String {
    let points = || panel.lines.iter().flat_map(|(_, points)| points);
    let longest = points().map(|(x, _)| *x).fold(1.0, f64::max);
    let highest = points().map(|(_, y)| *y).fold(100.0, f64::max);
    let x_of = |x: f64| LEFT + x / longest * (SIZE.0 - LEFT - 10.0);
    let y_of = |y: f64| SIZE.1 - BOTTOM - y / highest * (SIZE.1 - TOP - BOTTOM);
    let mut out = format!("<text x=\"{LEFT}\" y=\"16\">{}: delay from capture to playing, ms</text>\n", panel.title);
    let step = [25.0, 50.0, 100.0, 250.0, 500.0].into_iter().find(|step| highest / step <= 6.0).unwrap_or(1_000.0);
    let mut line = 0.0;
    while line <= highest {
        let y = y_of(line);
        out += &format!(
            "<line x1=\"{LEFT}\" x2=\"{}\" y1=\"{y:.1}\" y2=\"{y:.1}\" stroke=\"#e4e4e4\"/><text x=\"8\" y=\"{:.1}\">{line}</text>\n",
            SIZE.0 - 10.0,
            y + 4.0
        );
        line += step;
    }
    for second in (0..=longest as u32).step_by(if longest > 60.0 { 60 } else { 5 }) {
        out += &format!("<text x=\"{:.1}\" y=\"{}\">{second} s</text>\n", x_of(second.into()), SIZE.1 - 8.0);
    }
    for (n, (name, points)) in panel.lines.iter().enumerate() {
        let colour = COLOURS[n % COLOURS.len()];
        let path: String = points.iter().map(|(x, y)| format!("{:.1},{:.1} ", x_of(*x), y_of(*y))).collect();
        out += &format!("<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\"/>\n");
        let x = SIZE.0 - 120.0 * (n + 1) as f64;
        out += &format!("<text x=\"{x}\" y=\"16\" fill=\"{colour}\">{name}</text>\n");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_panel_is_drawn_with_its_lines() {
        let line = |n: f64| ("a line".to_owned(), vec![(0.0, n), (20.0, 80.0)]);
        let panel = || Panel { title: "a case".to_owned(), lines: vec![line(10.0), line(20.0)] };
        let svg = svg(&[panel(), panel()]);
        assert_eq!(svg.matches("<polyline").count(), 4);
        assert_eq!(svg.matches("a case").count(), 2);
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>\n"));
        assert_eq!(plot_of_nothing().matches("<g ").count(), 1);
    }

    fn plot_of_nothing() -> String {
        svg(&[Panel { title: String::new(), lines: Vec::new() }])
    }
}
