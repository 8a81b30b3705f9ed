//! Damaged and hostile files: one clear error, bounded memory and time.

use std::path::{Path, PathBuf};
use std::time::Duration;

use blink_api::{ErrorKind, Recorder};
use blink_recorders::{
    Mp4Config, Mp4Recorder, RtpLogConfig, RtpLogRecorder, WavConfig, WavRecorder, analyze, delay_svg, export, info,
    repair,
};
use rand::{RngExt as _, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::call::{Participant, Stream, record};

/// Live memory per byte of the file, and beside it, at most.
const MEMORY_PER_BYTE: u64 = 256;
const MEMORY: u64 = 8 << 20;

/// A complete file of each recorder, and an incomplete MP4 file.
fn originals(directory: &Path) -> Vec<PathBuf> {
    let recorders: [Box<dyn Recorder>; 3] = [
        Box::new(Mp4Recorder::new(Mp4Config { reserve: 4 << 10 }).unwrap()),
        Box::new(WavRecorder::new(WavConfig::default()).unwrap()),
        Box::new(RtpLogRecorder::new(RtpLogConfig::default()).unwrap()),
    ];
    let mut files = Vec::new();
    for recorder in recorders {
        let mut people = [Participant::new(1, "one")];
        let mut streams = [Stream::vp8(&people[0], Duration::ZERO)];
        let mut unfinished = None;
        let mut copy = |now: Duration| {
            if now == Duration::from_millis(1_500) {
                unfinished = std::fs::read(newest(directory)).ok();
            }
        };
        let duration = Duration::from_secs(2);
        let summary = record(&*recorder, directory, &mut people, &mut streams, duration, &mut copy).unwrap();
        files.extend(summary.files);
        if recorder.capabilities().video && files.len() == 1 {
            let path = directory.join("unfinished.mp4");
            std::fs::write(&path, unfinished.expect("the recording lasted longer")).unwrap();
            files.push(path);
        }
    }
    files
}

fn newest(directory: &Path) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    files.max_by_key(|file| std::fs::metadata(file).unwrap().modified().unwrap()).expect("a file was begun")
}

/// Gives a file to every reader. An error has a kind that blames the file, and names it; memory is
/// bounded by the size of the file.
fn read_all(bytes: &[u8], what: &str) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("hostile");
    std::fs::write(&path, bytes).unwrap();
    let check = |result: blink_api::Result<()>| {
        if let Err(error) = result {
            assert!(matches!(error.kind(), ErrorKind::Invalid | ErrorKind::Unsupported), "{what}: {error}");
            assert!(error.to_string().contains("hostile"), "{what}: {error}");
        }
    };
    let used = allocation_counter::measure(|| {
        check(info(&path).map(drop));
        check(repair(&path).map(drop));
        check(export(&path, None).map(drop));
        check(analyze(&path).map(|analysis| drop(delay_svg(&analysis))));
    });
    let limit = bytes.len() as u64 * MEMORY_PER_BYTE + MEMORY;
    assert!(used.bytes_max <= limit, "{what}: {} bytes of memory", used.bytes_max);
}

#[test]
fn files_cut_off_anywhere_are_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    for file in originals(directory.path()) {
        let whole = std::fs::read(&file).unwrap();
        // Each byte of the headers, and some of the rest.
        let ends = (0..whole.len().min(600)).chain((600..whole.len()).step_by(whole.len() / 150 + 1));
        for end in ends {
            read_all(&whole[..end], &format!("{} cut off at {end}", file.display()));
        }
    }
}

#[test]
fn changed_files_are_read_or_refused() {
    let directory = tempfile::tempdir().unwrap();
    for file in originals(directory.path()) {
        let whole = std::fs::read(&file).unwrap();
        for seed in 0..400 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut changed = whole.clone();
            // Half of the changes are where the structure of the file is.
            let end = if seed % 2 == 0 { whole.len() } else { whole.len().min(1_500) };
            for _ in 0..random.random_range(1..12) {
                let at = random.random_range(0..end);
                changed[at] = [0, 1, 0x7f, 0x80, 0xff, random.random()][random.random_range(0..6)];
            }
            read_all(&changed, &format!("{}, seed {seed}", file.display()));
        }
    }
}

#[test]
fn noise_behind_each_beginning_is_refused() {
    for (name, beginning) in [
        ("nothing", &b""[..]),
        ("mp4", b"\0\0\0\x10ftypiso6\0\0\0\0"),
        ("wav", b"RIFF\xff\xff\xff\xffWAVE"),
        ("rtplog", b"blinkrtp\x01\0\0\0"),
    ] {
        for seed in 0..100 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut file = beginning.to_vec();
            file.extend((0..random.random_range(0..3_000)).map(|_| random.random::<u8>()));
            read_all(&file, &format!("{name}, seed {seed}"));
        }
    }
}

/// A box.
fn mp4_box(kind: &[u8; 4], content: &[u8]) -> Vec<u8> {
    let mut bytes = (content.len() as u32 + 8).to_be_bytes().to_vec();
    bytes.extend(kind);
    bytes.extend(content);
    bytes
}

#[test]
fn absurd_sizes_counts_and_nesting_are_refused() {
    let ftyp = mp4_box(b"ftyp", b"iso6\0\0\0\0");
    let mut nested = Vec::new();
    for _ in 0..20_000 {
        nested = mp4_box(b"trak", &nested);
        if nested.len() > 100_000 {
            break;
        }
    }
    let wide = |kind: &[u8; 4], size: u64| {
        let mut bytes = vec![0, 0, 0, 1];
        bytes.extend(kind);
        bytes.extend(size.to_be_bytes());
        bytes
    };
    let empty_boxes: Vec<u8> = (0..50_000).flat_map(|_| mp4_box(b"free", b"")).collect();
    for (what, rest) in [
        ("nested boxes", mp4_box(b"moov", &nested)),
        ("a moov of 16 EiB", wide(b"moov", u64::MAX)),
        ("a moov of 15 bytes in 64 bits", wide(b"moov", 15)),
        ("a moov of 63 MiB that is not there", wide(b"moov", 63 << 20)),
        ("a box of 7 bytes", b"\0\0\0\x07moov".to_vec()),
        ("empty boxes without end", empty_boxes),
        ("a moov up to the end", b"\0\0\0\0moov".to_vec()),
    ] {
        let file = [ftyp.clone(), rest].concat();
        read_all(&file, what);
    }
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("wav");
    let mut wav = b"RIFF\xff\xff\xff\xffWAVEfmt \x10\0\0\0\x01\0\x01\0".to_vec();
    wav.extend([0x80, 0xbb, 0, 0, 0, 0x77, 1, 0, 2, 0, 16, 0]);
    wav.extend(b"data\xff\xff\xff\xff\x01\0");
    std::fs::write(&path, &wav).unwrap();
    assert_eq!(info(&path).unwrap().tracks[0].samples, 1, "only what is there counts");
}

/// Many descriptions of one sample would export a small file to a large one.
#[test]
fn samples_that_share_bytes_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let file = originals(directory.path()).remove(0);
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.windows(4).rposition(|window| window == b"stsz").expect("a complete file has sizes");
    let count = u32::from_be_bytes(bytes[at + 12..at + 16].try_into().unwrap()) as usize;
    let size = (bytes.len() as u32 / 2).to_be_bytes();
    for sample in 0..count {
        bytes[at + 16 + 4 * sample..][..4].copy_from_slice(&size);
    }
    std::fs::write(directory.path().join("bomb.mp4"), &bytes).unwrap();
    let error = export(&directory.path().join("bomb.mp4"), None).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Invalid, "{error}");
}
