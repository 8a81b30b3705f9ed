//! Log output on stderr, without secrets and addresses.
//!
//! Blink's crates never log keys, SDP or message content, and log addresses at debug level and
//! below only. The log writer enforces two more rules:
//!
//! * Libraries of the transports and signaling backends log STUN attributes, packets and addresses
//!   below warning level. These lines are suppressed, whatever `RUST_LOG` says, unless
//!   `log.libraries` is set.
//! * Error texts contain addresses. They are redacted in every line, except at debug level and
//!   below with `log.addresses`.

mod redacting_writer;

use std::io::IsTerminal;

use blink_api::LogSettings;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Subscriber};
use tracing_subscriber::field::MakeExt;
use tracing_subscriber::filter::{FilterExt, filter_fn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::fmt::format::{FormatFields, Writer, debug_fn};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use crate::terminal_text::escape;
use redacting_writer::RedactingWriter;

/// Starts logging to stderr: warnings of this program by default, more with `-v`, and as `RUST_LOG`
/// says.
pub(crate) fn start(verbose: u8, settings: LogSettings) {
    let default = match verbose {
        0 => "off,blink=warn",
        1 => "warn,blink=info",
        2 => "info,blink=debug",
        _ => "debug,blink=trace",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(default));
    let lines = lines(filter, settings, std::io::stderr().is_terminal(), std::io::stderr);
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(lines))
        .expect("the log is started once");
}

/// Formats the lines that pass the filter, redacted.
fn lines<S, W>(filter: EnvFilter, settings: LogSettings, colours: bool, writer: W) -> impl Layer<S>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let libraries = if settings.libraries { LevelFilter::TRACE } else { LevelFilter::WARN };
    let allowed = filter_fn(move |metadata| is_own(metadata.target()) || *metadata.level() <= libraries);
    tracing_subscriber::fmt::layer()
        .with_ansi(colours)
        .fmt_fields(fields())
        .with_writer(RedactingWriter::new(writer, settings.addresses))
        .with_filter(filter.and(allowed))
}

/// Formats the fields of events and spans, including the message, with control characters escaped.
/// All untrusted text is in fields; colours are added around them only.
fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        let value = escape(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{}={value}", name.trim_start_matches("r#")),
        }
    })
    .delimited(" ")
}

/// Whether a target belongs to Blink: its crates' names begin with `blink`.
fn is_own(target: &str) -> bool {
    target.split("::").next().is_some_and(|name| name == "blink" || name.starts_with("blink_"))
}

/// Whether lines of this level may contain addresses if `log.addresses` is set.
fn may_show_addresses(level: Level) -> bool {
    level >= Level::DEBUG
}

#[cfg(test)]
mod tests;
