//! The full-screen program in a pseudo-terminal, as its users see it.
#![cfg(unix)]

mod calls;
mod endings;
mod plain;
#[path = "../blink/program.rs"]
#[allow(dead_code, reason = "shared with the other tests of the program")]
mod program;
mod pseudo_terminal;
