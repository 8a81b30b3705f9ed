//! The program `blink`: encrypted calls without a server.
//!
//! As a library, so that a program with further backends needs no copy of it:
//!
//! ```no_run
//! # mod my_backend {}
//! use my_backend as _;
//!
//! fn main() -> std::process::ExitCode {
//!     blink_cli::main()
//! }
//! ```

mod args;
mod backends;
mod bench;
mod calendar;
mod call;
mod commands;
mod configuration;
mod conformance;
mod contacts;
mod control;
mod demo;
mod device_lines;
mod devices;
mod doctor;
mod engine;
mod event_text;
mod failure;
mod files;
mod help;
mod history;
mod inspect;
mod interrupt;
mod invite;
mod inviting;
mod keyboard;
mod known_nodes;
mod listen;
mod log;
mod metrics_server;
mod names;
mod new_backend;
mod node;
mod output;
mod people;
mod profile;
mod qr;
mod record;
mod recording;
mod ring_tone;
mod rtp;
#[cfg(test)]
mod schema;
mod score;
mod screen_output;
mod shell;
mod target;
mod terminal_text;
mod ui;
mod video;

use std::process::ExitCode;
use std::time::Duration;

use args::{Arguments, Command, Global};
use clap::{CommandFactory, Parser};
use failure::Failure;
use interrupt::Interrupt;
use output::Output;

/// Runs the program with the arguments of the process, and with all backends that are linked.
///
/// Returns the exit status. It installs a panic hook, handlers of signals and a subscriber of logs,
/// and may end the process when a second signal asks for it.
pub fn main() -> ExitCode {
    output::report_panics();
    let mut arguments = match Arguments::try_parse().or_else(without_command) {
        Ok(arguments) => arguments,
        Err(error) => return usage(&without_escapes(error)),
    };
    let Some(command) = arguments.command.take().or_else(ui::by_default) else {
        return usage(&missing_command());
    };
    arguments.global.file = configuration::File::read(arguments.global.config.as_deref());
    let output = Output::new(&arguments.global);
    log::start(arguments.global.verbose, configuration::log(&arguments.global));
    match run(&command, &arguments.global, &output).and_then(|()| output.check()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            output.failure(&failure);
            ExitCode::from(failure.status())
        }
    }
}

fn run(command: &Command, global: &Global, output: &Output) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::call(format!("cannot start threads: {error}")))?;
    let result = runtime.block_on(async {
        let interrupt =
            Interrupt::listen().map_err(|error| Failure::call(format!("cannot receive signals: {error}")))?;
        dispatch(command, global, output, &interrupt).await
    });
    // Do not wait for blocking tasks after an interrupt, such as a score computation.
    runtime.shutdown_timeout(Duration::from_millis(100));
    result
}

async fn dispatch(command: &Command, global: &Global, output: &Output, interrupt: &Interrupt) -> Result<(), Failure> {
    match command {
        Command::Ui(asked) => ui::run(asked, global, output, interrupt).await,
        Command::Demo(demo) => demo::run(demo, global, output, interrupt).await,
        Command::Listen(listen) => listen::run(listen, global, output, interrupt).await,
        Command::Call(call) => call::run(call, global, output, interrupt).await,
        Command::Invite(invite) => inviting::run(invite, global, output, interrupt).await,
        Command::Contacts(contacts) => people::run(contacts, global, output).await,
        Command::Doctor => doctor::run(global, output, interrupt).await,
        Command::Completions(arguments) => {
            shell::completions(arguments, output);
            Ok(())
        }
        Command::Man(arguments) => shell::man(arguments, output),
        Command::Backends => inspect::backends(output),
        Command::Devices(asked) => devices::run(asked, global, output, interrupt).await,
        Command::Config => inspect::config(global, output),
        Command::Id => inspect::id(global, output).await,
        Command::History(history) => history::run(history, global, output).await,
        Command::Recording(arguments) => recording::run(&arguments.command, global, output).await,
        Command::Rtp(arguments) => rtp::run(&arguments.command, output),
        Command::Conformance(asked) => conformance::run(asked, global, output, interrupt).await,
        Command::NewBackend(asked) => new_backend::run(asked, output),
        Command::Node(asked) => node::run(asked, global, output, interrupt).await,
        Command::Bench(bench) => bench::run(&bench.bench, global, output, interrupt).await,
    }
}

/// Reads options such as `--microphone` that stand without a command as those of `blink ui`, which
/// is the command that is meant without any.
fn without_command(error: clap::Error) -> Result<Arguments, clap::Error> {
    if error.kind() != clap::error::ErrorKind::UnknownArgument {
        return Err(error);
    }
    let mut words = std::env::args_os();
    let program = words.next();
    Arguments::try_parse_from(program.into_iter().chain(["ui".into()]).chain(words)).map_err(|_| error)
}

/// The help, where a command is missing.
fn missing_command() -> clap::Error {
    let kind = clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand;
    clap::Error::raw(kind, Arguments::command().render_help())
}

/// Rebuilds the error from escaped arguments: its text repeats them, and they may contain control
/// characters.
fn without_escapes(error: clap::Error) -> clap::Error {
    let shown = std::env::args_os().map(|argument| terminal_text::escape(&argument.to_string_lossy()));
    match Arguments::try_parse_from(shown) {
        Err(shown) if shown.kind() == error.kind() => shown,
        _ => clap::Error::new(error.kind()),
    }
}

/// Prints clap's output: help, version, or the error.
fn usage(error: &clap::Error) -> ExitCode {
    // There is no other place to report a failing stdout or stderr.
    error.print().ok();
    if error.use_stderr() && std::env::args_os().any(|argument| argument == "--json") {
        let text = error.to_string();
        // Missing arguments are in lines of their own, up to an empty one.
        let lines: Vec<_> = text.lines().take_while(|line| !line.is_empty()).map(str::trim).collect();
        output::failure_as_json(lines.join(" ").trim_start_matches("error: "));
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
}
