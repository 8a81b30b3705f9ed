//! A finished MP4 file in Chromium: it plays, and seeks to any place.
//!
//! A page in headless Chromium gets the file from a server here, plays it, seeks, and reports what
//! it saw.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use blink_recorders::{Mp4Config, Mp4Recorder};
use serde_json::Value;

use crate::call::{Participant, Stream, record};

const DURATION: Duration = Duration::from_secs(12);
/// Time for the browser to start, play and seek on a busy machine.
const DEADLINE: Duration = Duration::from_secs(120);
const PROGRAMS: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

const PAGE: &str = r#"<!doctype html><video id="video" muted></video><script>
const video = document.getElementById('video');
const event = (name) => new Promise((resolve, reject) => {
  video.addEventListener(name, resolve, { once: true });
  video.addEventListener('error', () => reject(new Error(`${name}: ${video.error?.message}`)), { once: true });
});
// The mean brightness of the picture that is shown.
const picture = () => {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [video.videoWidth, video.videoHeight];
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const pixels = context.getImageData(0, 0, canvas.width, canvas.height).data;
  return pixels.reduce((sum, value) => sum + value, 0) / pixels.length;
};
const run = async () => {
  const file = await (await fetch('recording.mp4')).arrayBuffer();
  const sound = await new OfflineAudioContext(1, 48000, 48000).decodeAudioData(file);
  const loaded = event('loadedmetadata');
  video.src = 'recording.mp4';
  await loaded;
  const seen = { duration: video.duration, width: video.videoWidth, height: video.videoHeight, seeks: [] };
  seen.sound = { duration: sound.duration, loudest: Math.max(...sound.getChannelData(0).subarray(0, 48000)) };
  await video.play();
  while (video.currentTime < 1) await event('timeupdate');
  seen.played = video.currentTime;
  video.pause();
  for (const to of [10.5, 3.25, 7, 0.5, 11.5]) {
    const sought = event('seeked');
    video.currentTime = to;
    await sought;
    seen.seeks.push({ to, at: video.currentTime, ready: video.readyState, picture: picture() });
  }
  return seen;
};
run().catch((error) => ({ error: String(error) }))
  .then((seen) => fetch('result', { method: 'POST', body: JSON.stringify(seen) }));
</script>"#;

/// A browser that is killed with the test.
struct Browser(Child);

impl Drop for Browser {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

impl Browser {
    fn open(url: &str, profile: &std::path::Path) -> Self {
        let started = PROGRAMS.iter().find_map(|program| {
            Command::new(program)
                .args(["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-dev-shm-usage"])
                .args(["--autoplay-policy=no-user-gesture-required", "--disable-background-networking"])
                .arg(format!("--user-data-dir={}", profile.display()))
                .arg(url)
                .stdout(Stdio::null())
                .stderr(Stdio::null())
                .spawn()
                .ok()
        });
        Self(started.unwrap_or_else(|| panic!("none of {PROGRAMS:?} can be run: script/setup installs Chromium")))
    }
}

/// Answers one request; the body of a result.
fn answer(mut stream: TcpStream, file: &[u8]) -> std::io::Result<Option<String>> {
    stream.set_read_timeout(Some(DEADLINE))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut request = String::new();
    reader.read_line(&mut request)?;
    let (mut length, mut range) = (0, None);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line)? <= 2 {
            break;
        }
        let Some((name, value)) = line.trim().split_once(": ") else { continue };
        match name.to_ascii_lowercase().as_str() {
            "content-length" => length = value.parse().unwrap_or(0),
            "range" => range = value.strip_prefix("bytes=").and_then(|range| parse_range(range, file.len())),
            _ => {}
        }
    }
    let path = request.split(' ').nth(1).unwrap_or("/");
    match path {
        "/result" => {
            let mut body = vec![0; length];
            reader.read_exact(&mut body)?;
            respond(&mut stream, "200 OK", "text/plain", b"")?;
            return Ok(Some(String::from_utf8_lossy(&body).into_owned()));
        }
        "/" => respond(&mut stream, "200 OK", "text/html", PAGE.as_bytes())?,
        "/recording.mp4" if range.is_some() => {
            let (first, end) = range.unwrap_or_default();
            let part = format!("Content-Range: bytes {first}-{}/{}", end.saturating_sub(1), file.len());
            let status = format!("206 Partial Content\r\nAccept-Ranges: bytes\r\n{part}");
            respond(&mut stream, &status, "video/mp4", &file[first..end])?;
        }
        "/recording.mp4" => respond(&mut stream, "200 OK\r\nAccept-Ranges: bytes", "video/mp4", file)?,
        _ => respond(&mut stream, "404 Not Found", "text/plain", b"")?,
    }
    Ok(None)
}

/// Beginning and end of a range of bytes (RFC 9110 §14.1.2), within the file.
fn parse_range(range: &str, length: usize) -> Option<(usize, usize)> {
    let (first, last) = range.split_once('-')?;
    let first = first.parse::<usize>().ok()?.min(length);
    let end = last.parse::<usize>().map_or(length, |last| last.saturating_add(1)).min(length);
    Some((first, end.max(first)))
}

fn respond(stream: &mut TcpStream, status: &str, kind: &str, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(body)
}

/// Opens the page, and returns its result.
fn play(file: &[u8]) -> Value {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let profile = tempfile::tempdir().unwrap();
    let _browser = Browser::open(&url, profile.path());
    let (results, result) = std::sync::mpsc::channel();
    let file = file.to_vec();
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (results, file) = (results.clone(), file.clone());
            // The browser opens several connections, and aborts some of them.
            std::thread::spawn(move || {
                if let Ok(Some(body)) = answer(stream, &file) {
                    results.send(body).ok();
                }
            });
        }
    });
    let body = result.recv_timeout(DEADLINE).expect("the page reports within the deadline");
    serde_json::from_str(&body).expect("the page sends JSON")
}

#[test]
fn chromium_plays_and_seeks_a_finished_recording() {
    let directory = tempfile::tempdir().unwrap();
    let mut people = [Participant::new(1, "one"), Participant::new(2, "two")];
    people[1].present = vec![2.0..f64::MAX];
    let mut streams = [Stream::vp8(&people[0], Duration::ZERO)];
    let recorder = Mp4Recorder::new(Mp4Config::default()).unwrap();
    let summary = record(&recorder, directory.path(), &mut people, &mut streams, DURATION, |_| ()).unwrap();
    let seen = play(&std::fs::read(&summary.files[0]).unwrap());
    let number = |value: &Value| value.as_f64().unwrap_or(f64::NAN);

    assert!(seen["error"].is_null(), "{seen}");
    assert!((number(&seen["duration"]) - DURATION.as_secs_f64()).abs() < 0.05, "{seen}");
    assert!((number(&seen["sound"]["duration"]) - DURATION.as_secs_f64()).abs() < 0.05, "{seen}");
    assert!(number(&seen["sound"]["loudest"]) > 0.2, "the first track has the chirp: {seen}");
    assert!(number(&seen["width"]) > 0.0 && number(&seen["height"]) > 0.0, "{seen}");
    assert!(number(&seen["played"]) >= 1.0, "{seen}");
    let seeks = seen["seeks"].as_array().unwrap();
    assert_eq!(seeks.len(), 5, "{seen}");
    for seek in seeks {
        assert!((number(&seek["at"]) - number(&seek["to"])).abs() < 0.05, "{seen}");
        assert!(number(&seek["ready"]) >= 2.0, "the picture there is decoded: {seen}");
        assert!(number(&seek["picture"]) > 64.0, "opaque pixels: {seen}");
    }
}
