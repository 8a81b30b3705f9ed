//! `blink bench`: measurements.

mod audio;
mod calls;
mod chirps;
mod clocks;
mod cpu;
mod device_latency;
mod echo;
mod engine_call;
mod latency;
mod line;
mod memory;
mod metered_codec;
mod plot;
mod recorders;
mod setup;

use crate::args::{Bench, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;

/// Runs one measurement.
pub(crate) async fn run(bench: &Bench, global: &Global, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    match bench {
        Bench::Audio(arguments) => audio::run(arguments, global, output, interrupt).await,
        Bench::Latency(arguments) => latency::run(arguments, global, output, interrupt).await,
        Bench::Echo(arguments) => echo::run(arguments, global, output, interrupt).await,
        Bench::Setup(arguments) => setup::run(arguments, global, output, interrupt).await,
        Bench::Calls(arguments) => calls::run(arguments, global, output, interrupt).await,
        Bench::Recording(arguments) => recorders::run(arguments, global, output, interrupt).await,
    }
}
