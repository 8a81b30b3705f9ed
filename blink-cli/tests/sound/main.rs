//! The program on real sound servers without a sound card: PulseAudio and PipeWire with null sinks.
//! The tests start the servers themselves; `script/setup --tests` installs them.
#![cfg(all(target_os = "linux", feature = "cpal"))]

#[path = "../blink/program.rs"]
#[allow(dead_code, reason = "shared with the other tests of the program")]
mod program;
#[path = "../../src/score.rs"]
mod score;

mod calls;
mod servers;
