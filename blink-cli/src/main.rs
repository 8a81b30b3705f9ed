//! The program `blink` with the backends of this repository.

use std::process::ExitCode;

fn main() -> ExitCode {
    blink_cli::main()
}
