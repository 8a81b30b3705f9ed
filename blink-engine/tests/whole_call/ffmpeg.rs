//! ffmpeg and ffprobe, whose every warning fails the test.

use std::path::Path;
use std::process::Command;

/// Output of a program that must succeed without a word.
fn output(program: &str, arguments: &[&str], file: &Path, more: &[&str]) -> Vec<u8> {
    let output = Command::new(program).args(arguments).arg(file).args(more).output();
    let output = output.unwrap_or_else(|error| panic!("{program} (`script/setup` installs it): {error}"));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.trim().is_empty(), "{program} on {}: {said}", file.display());
    output.stdout
}

/// Decodes an audio track to mono at 48 kHz.
pub(crate) fn decode(file: &Path, track: usize) -> Vec<f32> {
    let track = format!("0:a:{track}");
    let format = ["-map", &track, "-f", "f32le", "-ac", "1", "-ar", "48000", "-"];
    // A plain WAV header names no speakers, which ffmpeg would otherwise remark on.
    let is_wav = file.extension().is_some_and(|extension| extension == "wav");
    let guess: &[&str] = if is_wav { &["-guess_layout_max", "0"] } else { &[] };
    let arguments = [&["-v", "warning", "-nostdin"], guess, &["-i"]].concat();
    let bytes = output("ffmpeg", &arguments, file, &format);
    bytes.chunks_exact(4).map(|sample| f32::from_le_bytes([sample[0], sample[1], sample[2], sample[3]])).collect()
}

/// Reads the header of a file.
pub(crate) fn probe(file: &Path) {
    assert!(!output("ffprobe", &["-v", "warning", "-show_streams"], file, &[]).is_empty());
}
