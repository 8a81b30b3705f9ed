//! Picture of the screen for documents: an SVG of the cells that the program draws.

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Instant;

use ratatui::buffer::{Buffer, Cell};
use ratatui::style::{Color, Modifier};

use super::in_call;
use super::screens::{COLOURED, terminal};

/// Width and height of a cell in pixels.
const CELL: (usize, usize) = (8, 17);
const MARGIN: usize = 12;
const PAPER: &str = "#14171e";
const INK: &str = "#e6e9f0";

/// Colours of a cell: text and background.
fn colours(cell: &Cell) -> (&'static str, Option<&'static str>) {
    let text = match cell.fg {
        Color::Green => "#7fd6a0",
        Color::Yellow => "#e6c05c",
        Color::Reset if cell.modifier.contains(Modifier::DIM) => "#98a0b3",
        Color::Reset => INK,
        other => panic!("the picture has no {other}"),
    };
    if cell.modifier.contains(Modifier::REVERSED) { (PAPER, Some(text)) } else { (text, None) }
}

fn svg(buffer: &Buffer) -> String {
    let (columns, rows) = (usize::from(buffer.area.width), usize::from(buffer.area.height));
    let (width, height) = (columns * CELL.0 + 2 * MARGIN, rows * CELL.1 + 2 * MARGIN);
    let mut content = String::new();
    for (row, cells) in buffer.content.chunks(columns).enumerate() {
        let y = MARGIN + row * CELL.1;
        let mut column = 0;
        for run in cells.chunk_by(|one, other| colours(one) == colours(other) && one.modifier == other.modifier) {
            let (x, length) = (MARGIN + column * CELL.0, run.len() * CELL.0);
            column += run.len();
            let text: String = run.iter().map(Cell::symbol).collect();
            let (colour, background) = colours(&run[0]);
            if let Some(background) = background {
                let (top, height) = (y, CELL.1);
                writeln!(content, r#"<path fill="{background}" d="M{x} {top}h{length}v{height}h-{length}z"/>"#)
                    .unwrap();
            }
            if text.trim().is_empty() {
                continue;
            }
            let weight = if run[0].modifier.contains(Modifier::BOLD) { r#" font-weight="bold""# } else { "" };
            // Other spaces would be collapsed.
            let text = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace(' ', "\u{a0}");
            let base = y + 13;
            writeln!(
                content,
                r#"<text x="{x}" y="{base}" textLength="{length}" fill="{colour}"{weight}>{text}</text>"#
            )
            .unwrap();
        }
    }
    format!(
        r##"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">
<title>blink during a call of three</title>
<rect width="{width}" height="{height}" rx="8" fill="{PAPER}"/>
<g font-family="DejaVu Sans Mono, Menlo, Consolas, monospace" font-size="13">
{content}</g>
</svg>
"##
    )
}

/// `BLINK_UPDATE_SCREENS=1` draws it anew.
#[test]
fn the_picture_of_the_readme_is_what_the_program_draws() {
    let now = Instant::now();
    let mut state = in_call(now);
    state.notice("Bob offers VP8 `screen`");
    let picture = svg(terminal(&state, COLOURED, (80, 16), now).backend().buffer());
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../docs/pictures/terminal.svg");
    if std::env::var_os("BLINK_UPDATE_SCREENS").is_some() {
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, &picture).unwrap();
    }
    let stored = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(stored == picture, "{} is not what the program draws", path.display());
    assert!(picture.len() < 20_000 && picture.contains("Bob"), "{} bytes", picture.len());
}
