//! `blink completions` and `blink man`: what a shell and a manual need to know of the commands.

use clap::{Args, CommandFactory};
use clap_complete::Shell;

use crate::args::Arguments;
use crate::failure::Failure;
use crate::output::Output;

#[derive(Debug, Args)]
pub(crate) struct CompletionsArguments {
    /// The shell
    shell: Shell,
}

#[derive(Debug, Args)]
pub(crate) struct ManArguments {
    /// Command to describe; without it, the program
    command: Option<String>,
}

/// Runs `blink completions`.
pub(crate) fn completions(arguments: &CompletionsArguments, output: &Output) {
    let mut text = Vec::new();
    clap_complete::generate(arguments.shell, &mut Arguments::command(), "blink", &mut text);
    output.verbatim(&text);
}

/// Runs `blink man`.
///
/// # Errors
/// An input failure for an unknown command.
pub(crate) fn man(arguments: &ManArguments, output: &Output) -> Result<(), Failure> {
    let mut program = Arguments::command();
    program.build();
    let command = match &arguments.command {
        None => program,
        Some(name) => {
            let found = program.find_subcommand(name).cloned();
            let unknown = || Failure::input(format!("there is no command `{name}`: blink --help lists them"));
            let page = format!("blink-{name}");
            found.ok_or_else(unknown)?.display_name(page)
        }
    };
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .render(&mut text)
        .map_err(|error| Failure::call(format!("cannot write the manual: {error}")))?;
    output.verbatim(&text);
    Ok(())
}
