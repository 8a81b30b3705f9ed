//! The log: lines on stderr for whoever looks for a fault, without what nobody should read there.
//!
//! Blink's own crates log no keys, no SDP and no message content at any level, and addresses at
//! debug and below only. Two things are left to whoever sets up the log:
//!
//! * The libraries under the transports and signaling follow no such rule. Below a warning they
//!   show STUN attributes, whole packets, addresses. What they say there is left out, whatever
//!   `RUST_LOG` asks for, unless `log.libraries` is set.
//! * Addresses also stand in the texts of errors. They are taken out of every line, unless
//!   `log.addresses` is set, and above debug even then.

mod discreet;

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

use crate::shown::shown;
use discreet::Discreet;

/// Logs go to stderr: this program's warnings, with `-v` more, and whatever `RUST_LOG` asks for.
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

/// Writes what passes the filter, and nothing that should not be read.
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
        .with_writer(Discreet::new(writer, settings.addresses))
        .with_filter(filter.and(allowed))
}

/// Fields of events and spans, the message among them, as they may be shown. Everything that comes
/// from others is in fields; colours are added around them only.
fn fields() -> impl for<'a> FormatFields<'a> + Send + Sync + 'static {
    debug_fn(|writer: &mut Writer<'_>, field, value| {
        let value = shown(&format!("{value:?}"));
        match field.name() {
            "message" => write!(writer, "{value}"),
            name => write!(writer, "{}={value}", name.trim_start_matches("r#")),
        }
    })
    .delimited(" ")
}

/// Blink's crates have names that begin with `blink`.
fn is_own(target: &str) -> bool {
    target.split("::").next().is_some_and(|name| name == "blink" || name.starts_with("blink_"))
}

/// Whether a line of this level may show addresses where that is asked for.
fn may_show_addresses(level: Level) -> bool {
    level >= Level::DEBUG
}

#[cfg(test)]
mod tests;
