//! The delay over time as SVG.

use std::fmt::Write as _;

use super::{RtpAnalysis, TrackAnalysis};

const WIDTH: f64 = 900.0;
const HEIGHT: f64 = 160.0;
const MARGIN: f64 = 50.0;

/// Draws the delay of each track over time, in ms above its fastest packet; losses are red marks.
pub fn delay_svg(analysis: &RtpAnalysis) -> String {
    let height = (HEIGHT + MARGIN) * analysis.tracks.len() as f64 + MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {} {height}\" font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n",
        WIDTH + 2.0 * MARGIN
    );
    for (index, track) in analysis.tracks.iter().enumerate() {
        draw(&mut svg, track, MARGIN + index as f64 * (HEIGHT + MARGIN));
    }
    svg += "</svg>\n";
    svg
}

fn draw(svg: &mut String, track: &TrackAnalysis, top: f64) {
    let end = track.curve.iter().map(|(seconds, _)| *seconds).fold(1.0, f64::max);
    let most = track.curve.iter().map(|(_, delay)| *delay).fold(20.0, f64::max);
    let x = |seconds: f64| MARGIN + seconds / end * WIDTH;
    let y = |delay: f64| top + HEIGHT - delay / most * HEIGHT;
    let name = if track.name.is_empty() { &track.track } else { &track.name };
    let title = escape(&format!("{name}: {}", track.reason));
    let points: String = track.curve.iter().fold(String::new(), |mut points, (seconds, delay)| {
        // Writing to a string does not fail.
        write!(points, "{:.1},{:.1} ", x(*seconds), y(*delay)).ok();
        points
    });
    let losses: String = track.losses.iter().fold(String::new(), |mut marks, seconds| {
        write!(marks, "M{:.1} {top}v6", x(*seconds)).ok();
        marks
    });
    write!(
        svg,
        "<text x=\"{MARGIN}\" y=\"{:.1}\">{title}</text>\n\
         <text x=\"4\" y=\"{:.1}\">{most:.0} ms</text><text x=\"{:.1}\" y=\"{:.1}\">{end:.0} s</text>\n\
         <rect x=\"{MARGIN}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#999\"/>\n\
         <polyline fill=\"none\" stroke=\"#06c\" points=\"{points}\"/>\n<path stroke=\"#c00\" d=\"{losses}\"/>\n",
        top - 6.0,
        top + 10.0,
        MARGIN + WIDTH - 30.0,
        top + HEIGHT + 14.0
    )
    .ok();
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
