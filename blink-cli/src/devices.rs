//! `blink devices`: lists microphones and speakers, and tests them.

mod self_test;

use std::sync::Arc;

use blink_api::{
    AudioSink, AudioSource, DeviceDirection, DeviceInfo, Error, ErrorKind, MediaHost, OpenRequest, TrackKind,
};
use serde::Serialize;

use crate::args::{DevicesArguments, Global};
use crate::failure::Failure;
use crate::interrupt::Interrupt;
use crate::output::Output;
use crate::record::RecordArguments;
use crate::terminal_text::escape;
use crate::{configuration, files};

/// The devices of a media host: a line of `--json`.
#[derive(Debug, Serialize)]
struct Listing {
    host: &'static str,
    /// The sound system that was chosen, and why.
    description: Option<String>,
    devices: Vec<DeviceInfo>,
    error: Option<String>,
}

/// Runs `blink devices`.
pub(crate) async fn run(
    arguments: &DevicesArguments,
    global: &Global,
    output: &Output,
    interrupt: &Interrupt,
) -> Result<(), Failure> {
    if !(1..=60).contains(&arguments.seconds) {
        return Err(Failure::input("--seconds is 1 to 60"));
    }
    // Devices need no data directory, and none is created for them.
    let global = &Global { ephemeral: true, ..global.clone() };
    let configuration =
        configuration::for_call(global, &arguments.devices, (None, None), (&RecordArguments::default(), None))?;
    let context = files::context(&configuration);
    let mut hosts = Vec::new();
    for entry in configuration.chosen_all::<dyn MediaHost>()? {
        let created = entry.create(&configuration, &context).await;
        let listed = match &created {
            Ok(host) => host.devices().await,
            Err(error) => Err(error.clone()),
        };
        let description = created.as_ref().ok().and_then(|host| host.description());
        let error = listed.as_ref().err().map(Error::to_string);
        let devices = listed.unwrap_or_default();
        show(&Listing { host: entry.name, description, devices, error }, output);
        hosts.extend(created.ok().map(|host| (entry.name, host)));
    }
    if !arguments.test {
        return Ok(());
    }
    let settings = configuration.settings();
    tokio::select! {
        result = self_test::run(&hosts, (&settings.microphone, &settings.speaker), arguments.seconds, output) => result,
        () = interrupt.wait() => Err(Failure::interrupted()),
    }
}

fn show(listing: &Listing, output: &Output) {
    output.json_result(listing);
    let description = listing.description.as_deref().map(|text| format!(" ({text})")).unwrap_or_default();
    output.result(&format!("{}{description}", listing.host));
    if let Some(error) = &listing.error {
        return output.result(&format!("  {error}"));
    }
    let width = listing.devices.iter().map(|device| escape(&device.name).chars().count()).max().unwrap_or(0);
    for (direction, title) in [(DeviceDirection::Source, "microphones"), (DeviceDirection::Sink, "speakers")] {
        let fits = |device: &&DeviceInfo| device.direction == direction && device.kind == TrackKind::Audio;
        let devices: Vec<_> = listing.devices.iter().filter(fits).collect();
        output.result(&format!("  {title}{}", if devices.is_empty() { ": none" } else { "" }));
        for device in devices {
            let mark = if device.is_default { '*' } else { ' ' };
            output.result(&format!("  {mark} {:width$}  {}", escape(&device.name), escape(&device.summary)));
        }
    }
}

/// A media host with its name.
pub(crate) type NamedHost = (&'static str, Arc<dyn MediaHost>);

/// Hosts that may have a device, each with its own name of it.
fn candidates<'a>(hosts: &'a [NamedHost], name: &'a str) -> Vec<(&'a dyn MediaHost, &'a str)> {
    let named = name.split_once('/').and_then(|(prefix, rest)| {
        let (_, host) = hosts.iter().find(|(host, _)| *host == prefix)?;
        Some(vec![(&**host, rest)])
    });
    named.unwrap_or_else(|| hosts.iter().map(|(_, host)| (&**host, name)).collect())
}

fn unknown(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, "no media host has this device").with("name", name)
}

async fn open_microphone(hosts: &[NamedHost], name: &str, request: OpenRequest) -> Result<Box<dyn AudioSource>, Error> {
    let mut failure = None;
    for (host, name) in candidates(hosts, name) {
        match host.open_audio_source(name, request).await {
            Ok(source) => return Ok(source),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| unknown(name)))
}

pub(crate) async fn open_speaker(
    hosts: &[NamedHost],
    name: &str,
    request: OpenRequest,
) -> Result<Box<dyn AudioSink>, Error> {
    let mut failure = None;
    for (host, name) in candidates(hosts, name) {
        match host.open_audio_sink(name, request).await {
            Ok(sink) => return Ok(sink),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    Err(failure.unwrap_or_else(|| unknown(name)))
}
