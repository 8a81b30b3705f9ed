//! The terminal after a panic, in a pseudo-terminal of its own.
#![cfg(unix)]

use std::io::Read;
use std::num::NonZeroU16;
use std::time::Instant;

use portable_pty::{CommandBuilder, PtySize, native_pty_system};

use super::super::draw::Moment;
use super::super::full_screen::FullScreen;
use super::screens::COLOURED;
use super::{UNIX_MS, with_contacts};

const NAME: &str = "ui::tests::panics::a_panic_in_full_screen";

/// Panics while the screen is shown. Run by the test below only.
#[test]
#[ignore = "fails on purpose, in the terminal of another test"]
fn a_panic_in_full_screen() {
    let mut screen = FullScreen::enter().unwrap();
    screen.draw(&with_contacts(), COLOURED, Moment { now: Instant::now(), unix_ms: UNIX_MS }).unwrap();
    panic!("on purpose \u{1b}[31m");
}

#[test]
fn a_panic_restores_the_terminal_and_is_told_afterwards() {
    let size = PtySize { rows: 24, cols: 80, pixel_width: 0, pixel_height: 0 };
    let pair = native_pty_system().openpty(size).unwrap();
    let mut command = CommandBuilder::new("sh");
    // The shell tells of the terminal's mode afterwards.
    let program = std::env::current_exe().unwrap();
    command.args(["-c", "\"$0\" \"$@\"; stty -a", program.to_str().unwrap()]);
    command.args(["--exact", NAME, "--ignored", "--nocapture", "--test-threads", "1"]);
    command.env("TERM", "xterm-256color");
    let mut child = pair.slave.spawn_command(command).unwrap();
    drop(pair.slave);
    let mut reader = pair.master.try_clone_reader().unwrap();
    let (rows, columns) = (NonZeroU16::new(24).unwrap(), NonZeroU16::new(80).unwrap());
    let mut parser = vt100::Parser::new(rows, columns, 200);
    let (mut was_full, mut all) = (false, Vec::new());
    let mut bytes = [0; 1_024];
    // Fails once the program has exited.
    while let Ok(length @ 1..) = reader.read(&mut bytes) {
        all.extend_from_slice(&bytes[..length]);
        parser.process(&bytes[..length]);
        was_full |= parser.screen().alternate_screen();
    }
    child.wait().unwrap();
    let text = parser.screen().contents();
    assert!(was_full && !parser.screen().alternate_screen() && !parser.screen().hide_cursor(), "{text}");
    let after = String::from_utf8_lossy(&all).into_owned();
    let after = after.rsplit("\u{1b}[?1049l").next().unwrap();
    assert!(after.contains("on purpose"), "{after}");
    // Lines are edited, signals come from keys, typed text is shown: none of them is off.
    let modes: Vec<&str> = after.split([' ', ';', '\r', '\n']).collect();
    for mode in ["icanon", "isig", "echo", "opost"] {
        assert!(modes.contains(&mode), "{mode}: {after}");
    }
}
