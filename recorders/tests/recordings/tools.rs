//! Other programs' view of a file.

use std::fs::File;
use std::path::Path;
use std::process::{Command, Output};

use symphonia::core::formats::probe::Hint;
use symphonia::core::io::MediaSourceStream;

/// Runs a tool, which must not complain.
fn run(tool: &str, arguments: &[&str]) -> Output {
    let output = Command::new(tool).args(arguments).output().unwrap_or_else(|error| {
        panic!("{tool} cannot be run ({error}): these tests need ffmpeg and ffprobe, which script/setup installs")
    });
    let complaints = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && complaints.trim().is_empty(), "{tool} {arguments:?}: {complaints}");
    output
}

fn text(path: &Path) -> &str {
    path.to_str().expect("the tests' paths are UTF-8")
}

/// Decodes one audio track to 48 kHz mono.
pub(crate) fn decode(path: &Path, track: usize) -> Vec<f32> {
    let map = format!("0:a:{track}");
    let mut arguments = vec!["-v", "warning", "-nostdin"];
    if path.extension().is_some_and(|extension| extension == "wav") {
        // A plain header names no speakers; ffmpeg would say that it guesses them.
        arguments.extend(["-guess_layout_max", "0"]);
    }
    arguments.extend(["-i", text(path), "-map", &map, "-f", "f32le", "-ac", "1", "-ar", "48000", "-"]);
    let bytes = run("ffmpeg", &arguments).stdout;
    bytes.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect()
}

/// Decodes everything and drops it.
pub(crate) fn decode_all(path: &Path) {
    let mut arguments = vec!["-v", "warning", "-nostdin"];
    if path.extension().is_some_and(|extension| extension == "wav") {
        arguments.extend(["-guess_layout_max", "0"]);
    }
    arguments.extend(["-i", text(path), "-map", "0", "-f", "null", "-"]);
    run("ffmpeg", &arguments);
}

/// Tracks as ffprobe lists them: kind, duration in seconds, packets.
pub(crate) fn probe(path: &Path) -> Vec<(String, f64, usize)> {
    let arguments = ["-v", "warning", "-count_packets", "-show_streams", "-of", "json", text(path)];
    let output = run("ffprobe", &arguments);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).expect("ffprobe prints JSON");
    let streams = json["streams"].as_array().expect("ffprobe lists streams");
    let field = |stream: &serde_json::Value, name: &str| stream[name].as_str().unwrap_or_default().to_owned();
    streams
        .iter()
        .map(|stream| {
            let duration = field(stream, "duration").parse().unwrap_or(0.0);
            (field(stream, "codec_type"), duration, field(stream, "nb_read_packets").parse().unwrap_or(0))
        })
        .collect()
}

/// Packets of each track as symphonia reads them, in the order of track ids.
pub(crate) fn symphonia(path: &Path) -> Vec<usize> {
    let file = File::open(path).expect("the file is there");
    let stream = MediaSourceStream::new(Box::new(file), Default::default());
    let probed = symphonia::default::get_probe().probe(&Hint::new(), stream, Default::default(), Default::default());
    let mut format = probed.unwrap_or_else(|error| panic!("symphonia cannot read {}: {error}", path.display()));
    let mut counts: std::collections::BTreeMap<u32, usize> =
        format.tracks().iter().map(|track| (track.id, 0)).collect();
    while let Some(packet) = format.next_packet().expect("symphonia reads the file to its end") {
        *counts.entry(packet.track_id).or_default() += 1;
    }
    counts.into_values().collect()
}

/// Samples of each track as the crate `mp4` reads them.
pub(crate) fn crate_mp4(path: &Path) -> Vec<usize> {
    let movie = mp4::read_mp4(File::open(path).expect("the file is there")).expect("the crate mp4 reads the file");
    let mut ids: Vec<u32> = movie.tracks().keys().copied().collect();
    ids.sort_unstable();
    ids.iter().map(|id| movie.sample_count(*id).expect("the track is there") as usize).collect()
}
