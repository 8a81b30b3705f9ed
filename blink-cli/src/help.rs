//! `blink --help`: all commands on one screen of 24 lines.

/// Text of `blink --help`.
pub(crate) const HELP: &str = "\
Encrypted peer-to-peer calls without a server

Usage: blink COMMAND [OPTIONS]          blink COMMAND --help explains it

  listen       Wait for calls            call         Call by name or invite
  invite       Print an invite           contacts     Keep people by name
  history      List past calls           id           Show the own DID
  devices      List and test sound       doctor       Check all, with advice
  config       Show the configuration    backends     List the backends
  recording    Inspect, repair, export   rtp          Analyze RTP logs
  demo         A call on this machine    conformance  Test all backends
  bench        Measure quality, delay    man          Print the manual page
  completions  Print shell completions   ui           Screen; the default
  node         Run a public node         new-backend  Write a backend's crate

Options of every command:
  --config FILE  Configuration file      --set KEY=VALUE  Set a key
  --ephemeral    Keep nothing            --json           Print JSON lines
  -q, --quiet    Only results            -v, --verbose    Log; -vv, -vvv: more
  -h, --help     This help               -V, --version    The version

Exit status: 0 success, 1 failed call, 2 invalid arguments, 130 interrupted.
";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;
    use crate::args::Arguments;

    #[test]
    fn the_help_fits_a_screen_and_names_every_command_and_option() {
        assert!(HELP.lines().count() < 24, "a line is for the prompt");
        assert!(HELP.lines().all(|line| line.chars().count() < 80));
        let command = Arguments::command();
        for command in command.get_subcommands().filter(|command| !command.is_hide_set()) {
            let name = command.get_name();
            assert!(HELP.split_whitespace().any(|word| word == name), "{name}");
        }
        for option in command.get_arguments().filter_map(clap::Arg::get_long) {
            assert!(HELP.contains(&format!("--{option}")), "{option}");
        }
    }
}
