//! `blink bench`: what this program does, in figures.

mod audio;
mod calls;
mod clocks;
mod cpu;
mod latency;
mod line;
mod markers;
mod metered;
mod plot;
mod talk;

use crate::args::{Bench, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Measures one thing.
pub(crate) async fn run(bench: &Bench, global: &Global, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    match bench {
        Bench::Audio(arguments) => audio::run(arguments, global, output, interrupt).await,
        Bench::Latency(arguments) => latency::run(arguments, global, output, interrupt).await,
        Bench::Calls(arguments) => calls::run(arguments, global, output, interrupt).await,
    }
}
