//! Tests of the program as its users run it.

mod bench_command;
mod call_command;
mod configuration_tables;
mod demo_command;
mod glare;
mod hold_command;
mod input;
mod inspect_command;
mod interrupts;
mod logs;
mod message_command;
mod metrics_of_calls;
mod node_command;
mod people_command;
mod plain_commands;
#[allow(dead_code, reason = "the tests of nodes use the rest")]
mod program;
mod recording_command;
mod terminal;
