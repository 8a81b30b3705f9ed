//! The program as its users run it.

mod bench;
mod calls;
mod demo;
mod input;
mod inspect;
mod interrupts;
mod logs;
mod program;
