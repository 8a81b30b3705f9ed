//! Resizing, suspending, closing the terminal, signals.

use std::process::Command;

use crate::program::{ALONE, Program, SEEN, run};
use crate::pseudo_terminal::Terminal;

fn signal(id: u32, name: &str) {
    let status = Command::new("sh").arg("-c").arg(format!("kill -{name} {id}")).status();
    assert!(status.expect("there is a shell").success());
}

#[test]
fn the_screen_follows_the_size_of_the_terminal() {
    let directory = tempfile::tempdir().unwrap();
    let mut blink = Terminal::blink(directory.path(), "a", &["ui"]);
    blink.wait_for("none yet");
    let is_drawn = |screen: &str, columns: usize| {
        let rows: Vec<_> = screen.lines().filter(|row| row.starts_with('┌')).collect();
        !rows.is_empty() && rows.iter().all(|row| row.chars().count() == columns) && screen.contains("q quit")
    };
    for (rows, columns) in [(40, 120), (24, 80), (12, 60)] {
        blink.resize(rows, columns);
        blink.wait(&format!("{columns} columns"), |screen| is_drawn(screen, columns.into()));
    }
    blink.keys("q");
    assert_eq!(blink.end(), 0);
}

#[test]
fn ctrl_z_suspends_and_the_shell_continues_it() {
    let directory = tempfile::tempdir().unwrap();
    let mut shell = Terminal::start(directory.path(), "bash", &["--norc", "--noprofile", "-i"]);
    let alone: Vec<_> = ALONE.iter().map(|word| format!("'{word}'")).collect();
    shell.keys(&format!("{} ui --set data_dir=a {}\n", env!("CARGO_BIN_EXE_blink"), alone.join(" ")));
    shell.wait_for_state("the screen", |parser| {
        parser.screen().alternate_screen() && parser.screen().contents().contains("none yet")
    });
    shell.keys("\x1a");
    shell.wait_for_state("the shell", |parser| {
        !parser.screen().alternate_screen() && parser.screen().contents().contains("Stopped")
    });
    // The shell shows what is typed.
    shell.keys("echo $((40 + 2))x\n");
    shell.wait("echo", |screen| screen.contains("echo $((40") && screen.contains("42x"));
    shell.keys("fg\n");
    shell.wait_for_state("the screen again", |parser| {
        parser.screen().alternate_screen() && parser.screen().contents().contains("none yet")
    });
    shell.keys("?");
    shell.wait_for("Everywhere");
    shell.keys("q");
    shell.wait_for_state("the shell again", |parser| {
        !parser.screen().alternate_screen() && parser.screen().contents().trim_end().ends_with(['#', '$'])
    });
    shell.keys("echo $((50 + 1))y; exit 3\n");
    assert_eq!(shell.end(), 3);
}

#[test]
fn a_closed_terminal_and_signals_leave_the_call() {
    let directory = tempfile::tempdir().unwrap();
    for (how, name) in [("HUP", "a"), ("TERM", "b"), ("close", "c"), ("close with HUP ignored", "d")] {
        let mut blink = if how.contains("ignored") {
            let ignoring = format!("trap '' HUP; exec {} \"$@\"", env!("CARGO_BIN_EXE_blink"));
            let ours = ["-c", &ignoring, "sh", "ui", "--set", "data_dir=d"];
            Terminal::start(directory.path(), "sh", &[&ours[..], &ALONE].concat())
        } else {
            Terminal::blink(directory.path(), name, &["ui"])
        };
        blink.wait_for("none yet");
        let invite = blink.invite();
        let arguments = [&["call", "--json", "--ephemeral", invite.as_str()], &ALONE[..]].concat();
        let mut caller = Program::start(directory.path(), &arguments);
        blink.wait_for("Incoming call");
        blink.keys("y");
        caller.event("participant_joined");
        match how {
            "HUP" | "TERM" => {
                signal(blink.id(), how);
                assert_eq!(blink.end(), 130, "{how}");
                blink.wait_for_state("normal screen", |parser| !parser.screen().alternate_screen());
            }
            _ => {
                blink.close();
                assert!(matches!(blink.end(), 1 | 130), "{how}");
            }
        }
        let ended = caller.event_within("call_ended", SEEN);
        assert_eq!(ended["reason"], "remote_left", "{how}");
        assert_eq!(caller.end().status, 0, "{how}");
    }
}

#[test]
fn without_a_terminal_the_reason_and_the_way_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let ended = run(directory.path(), &["ui"]);
    assert!(ended.status == 2 && ended.errors.contains("--plain"), "{ended:?}");
}
