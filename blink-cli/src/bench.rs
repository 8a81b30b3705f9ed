//! `blink bench`: what this program does, in figures.

mod audio;
mod cpu;
mod line;
mod path;
mod plot;

use crate::args::Bench;
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Measures one thing.
pub(crate) async fn run(bench: &Bench, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    match bench {
        Bench::Audio(arguments) => audio::run(arguments, output, interrupt).await,
    }
}
