//! Names of devices as media hosts list them, and names that the user chooses: known to a host, or
//! refused with similar ones.

use std::sync::Arc;
use std::time::Duration;

use blink_api::{DeviceDirection, DeviceInfo, Error, ErrorKind, MediaHost, Result, Settings, TrackKind};

use super::opened_devices::candidates;

/// How long a host may take to list its devices.
const LISTING: Duration = Duration::from_secs(2);
/// Names that an error suggests.
const SUGGESTIONS: usize = 3;
/// Likeness (Jaro-Winkler) from which on a name is suggested.
const ALIKE: f64 = 0.75;

/// Checks that a host may know a device of this name. A host that lists nothing, or not in time, is
/// taken to know it: its opening tells.
///
/// # Errors
/// [`NotFound`](ErrorKind::NotFound), with the most similar names that there are.
pub(super) async fn check_name(
    hosts: &[(String, Arc<dyn MediaHost>)],
    direction: DeviceDirection,
    name: &str,
) -> Result<()> {
    if name == "default" || name == "none" {
        return Ok(());
    }
    for (_, host, name) in candidates(hosts, name).filter(|(_, host, _)| has(*host, direction)) {
        let Ok(mut devices) = devices_of(host).await else { return Ok(()) };
        devices.retain(|info| is_of(info, direction));
        if devices.is_empty() || devices.iter().any(|info| means(&info.name, name)) || name == "default" {
            return host.check(name, direction).await;
        }
    }
    let mut known = Vec::new();
    for (host_name, host) in hosts.iter().filter(|(_, host)| has(&**host, direction)) {
        let devices = devices_of(&**host).await.unwrap_or_default();
        let fitting = devices.into_iter().filter(|info| is_of(info, direction));
        known.extend(fitting.map(|info| (host_name.clone(), info.name)));
    }
    Err(unknown(direction, name, &known))
}

/// Checks the configured microphone and speaker before the engine starts. A name that no host knows
/// is accepted with a warning where a device may be plugged in later.
///
/// # Errors
/// As [`check_name`], with the key.
pub(crate) async fn check_configured(hosts: &[(String, Arc<dyn MediaHost>)], settings: &Settings) -> Result<()> {
    let may_come = hosts.iter().any(|(_, host)| host.capabilities().hotplug);
    for (key, direction, name) in [
        ("microphone", DeviceDirection::Source, &settings.microphone),
        ("speaker", DeviceDirection::Sink, &settings.speaker),
    ] {
        match check_name(hosts, direction, name).await {
            Ok(()) => {}
            // An error of a host is about a device that it knows.
            Err(error) if may_come && error.kind() == ErrorKind::NotFound && error.backend_name().is_none() => {
                tracing::warn!(%error, key, "the configured device is not there");
            }
            Err(error) => return Err(error.with("key", key)),
        }
    }
    Ok(())
}

/// The devices of a host.
///
/// # Errors
/// Those of the host; [`Timeout`](ErrorKind::Timeout).
pub(super) async fn devices_of(host: &dyn MediaHost) -> Result<Vec<DeviceInfo>> {
    let timeout = |_| Error::new(ErrorKind::Timeout, "the media host does not list its devices");
    tokio::time::timeout(LISTING, host.devices()).await.map_err(timeout)?
}

fn has(host: &dyn MediaHost, direction: DeviceDirection) -> bool {
    let capabilities = host.capabilities();
    if direction == DeviceDirection::Source { capabilities.audio_sources } else { capabilities.audio_sinks }
}

fn is_of(info: &DeviceInfo, direction: DeviceDirection) -> bool {
    info.direction == direction && info.kind == TrackKind::Audio
}

/// Whether a listed name, or pattern such as `wav:PATH`, stands for this name.
fn means(listed: &str, name: &str) -> bool {
    let pattern = listed.split_once(':').filter(|(_, parameter)| {
        !parameter.is_empty() && parameter.chars().all(|letter| letter.is_ascii_uppercase() || "_-[]:".contains(letter))
    });
    let fits = |(prefix, _): (&str, &str)| name.split_once(':').is_some_and(|(before, _)| before == prefix);
    listed == name || pattern.is_some_and(fits)
}

/// The error for a name that no host knows.
fn unknown(direction: DeviceDirection, name: &str, known: &[(String, String)]) -> Error {
    let kind = if direction == DeviceDirection::Source { "microphone" } else { "speaker" };
    let folded = name.to_lowercase();
    let likeness = |(host, known): &(String, String)| {
        let (full, known) = (format!("{host}/{known}").to_lowercase(), known.to_lowercase());
        let is_part = folded.len() >= 3 && full.contains(&folded);
        let alike = strsim::jaro_winkler(&folded, &known).max(strsim::jaro_winkler(&folded, &full));
        if is_part { alike.max(1.0) } else { alike }
    };
    let mut near: Vec<_> = known.iter().map(|device| (likeness(device), device)).collect();
    near.retain(|(likeness, _)| *likeness >= ALIKE);
    near.sort_by(|(one, _), (other, _)| other.total_cmp(one));
    let is_suggestion = !near.is_empty();
    let shown: Vec<_> = if is_suggestion {
        near.iter().take(SUGGESTIONS).map(|(_, (host, name))| format!("`{host}/{name}`")).collect()
    } else {
        known.iter().map(|(host, name)| format!("`{host}/{name}`")).collect()
    };
    let hint = match (is_suggestion, shown.is_empty()) {
        (true, _) => format!("similar names: {}", shown.join(", ")),
        (false, false) => format!("there is: {}", shown.join(", ")),
        (false, true) => "there is none at all".to_owned(),
    };
    Error::new(ErrorKind::NotFound, format!("no media host knows a {kind} `{name}`; {hint}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn similar_names_are_suggested_and_all_names_where_none_is_similar() {
        let known = [("cpal", "Headset USB"), ("cpal", "Built-in Audio"), ("synthetic", "tone:HZ")]
            .map(|(host, name)| (host.to_owned(), name.to_owned()));
        let text = |name| unknown(DeviceDirection::Source, name, &known).to_string();
        for near in ["headset", "Hedset USB", "cpal/headset usb", "USB"] {
            let text = text(near);
            assert!(text.contains("similar names: `cpal/Headset USB`"), "{text}");
            assert!(!text.contains("tone:HZ"), "{text}");
        }
        assert!(text("zzz").contains("there is: `cpal/Headset USB`, `cpal/Built-in Audio`, `synthetic/tone:HZ`"));
        assert!(unknown(DeviceDirection::Sink, "x", &[]).to_string().contains("no media host knows a speaker `x`"));
    }

    #[test]
    fn a_pattern_stands_for_names_with_a_parameter_only() {
        assert!(means("wav:PATH", "wav:/tmp/a.wav") && means("tone:HZ", "tone:440") && means("hw:0,0", "hw:0,0"));
        assert!(!means("wav:PATH", "wave:/tmp/a.wav") && !means("wav:PATH", "wav") && !means("hw:0,0", "hw:1,0"));
    }
}
