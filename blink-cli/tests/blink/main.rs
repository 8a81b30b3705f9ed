//! The program as its users run it.

mod bench;
mod calls;
mod demo;
mod glare;
mod input;
mod inspect;
mod interrupts;
mod logs;
#[allow(dead_code, reason = "the tests of nodes use the rest")]
mod program;
mod terminal;
