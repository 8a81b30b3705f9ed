//! Embedded clips, and damaged variants of them.

use super::*;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

type Parse = fn(&Bytes) -> Result<EncodedClip>;

const PARSERS: [(&[u8], Parse); 2] = [(VP8, ivf::parse), (H264, annex_b::parse)];

#[test]
fn the_clips_have_the_documented_format_and_duration() {
    for (clip, codec) in [(EncodedClip::vp8().unwrap(), "VP8"), (EncodedClip::h264().unwrap(), "H264")] {
        assert_eq!(clip.codec.name.as_str(), codec);
        assert_eq!((clip.format.width, clip.format.height, clip.format.frame_rate.round()), (320, 180, 15.0));
        assert_eq!(clip.frames.len(), 60);
        assert!(clip.frames.iter().enumerate().all(|(number, frame)| frame.key == (number % 15 == 0)), "{codec}");
        assert_eq!(clip.duration().as_millis() / 10, 400);
    }
    assert!(EncodedClip::h264().unwrap().codec.fmtp.contains("profile-level-id=42c01f"));
    const { assert!(VP8.len() <= 60_000 && H264.len() <= 60_000) };
}

/// The complete frames of a truncated file are intact, and nothing panics.
#[test]
fn a_truncated_file_is_refused_or_shorter() {
    for (file, parse) in PARSERS {
        let whole = parse(&Bytes::from_static(file)).unwrap();
        for cut in 0..file.len() {
            match parse(&Bytes::from_static(&file[..cut])) {
                Ok(clip) => {
                    let (last, before) = clip.frames.split_last().unwrap();
                    assert!(before.iter().zip(&whole.frames).all(|(frame, was)| frame.data == was.data), "{cut}");
                    assert!(whole.frames[before.len()].data.starts_with(&last.data), "{cut}");
                }
                Err(error) => assert!(matches!(error.kind(), ErrorKind::Invalid), "{cut}: {error}"),
            }
        }
    }
}

#[test]
fn random_byte_changes_do_not_panic() {
    for (file, parse) in PARSERS {
        for seed in 0..400 {
            let mut random = ChaCha8Rng::seed_from_u64(seed);
            let mut damaged = file.to_vec();
            // Half of the seeds damage the headers, where most errors are possible.
            let reach = if seed % 2 == 0 { 80 } else { file.len() };
            for _ in 0..1 + random.next_u32() % 20 {
                damaged[random.next_u32() as usize % reach] = random.next_u32() as u8;
            }
            if let Ok(clip) = parse(&damaged.into()) {
                assert!(
                    clip.frames[0].key && clip.frames.iter().all(|frame| frame.duration >= MIN_FRAME_DURATION),
                    "seed {seed}"
                );
            }
        }
    }
}

#[test]
fn a_damaged_sequence_parameter_set_does_not_panic() {
    let end = H264.windows(4).skip(4).position(|bytes| bytes == [0, 0, 0, 1]).unwrap() + 4;
    for seed in 0..20_000 {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let mut file = H264[..3_000].to_vec();
        for _ in 0..1 + random.next_u32() % 6 {
            file[5 + random.next_u32() as usize % (end - 5)] = random.next_u32() as u8;
        }
        if let Ok(clip) = annex_b::parse(&file.into()) {
            assert!(!clip.frames.is_empty(), "seed {seed}");
        }
    }
}

#[test]
fn files_are_parsed_by_extension_and_errors_name_them() {
    let directory = tempfile::tempdir().unwrap();
    let write = |name: &str, data: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, data).unwrap();
        path
    };
    for (name, data, codec) in [("a.ivf", VP8, "VP8"), ("a.h264", H264, "H264"), ("A.264", H264, "H264")] {
        let clip = EncodedClip::read(&write(name, data), 4).unwrap();
        assert_eq!((clip.codec.name.as_str(), clip.frames.len()), (codec, 60));
    }
    let mut vp9 = VP8.to_vec();
    vp9[8..12].copy_from_slice(b"VP90");
    let mut back = VP8.to_vec();
    let second = 32 + 12 + u32::from_le_bytes(VP8[32..36].try_into().unwrap()) as usize;
    back[32 + 4] = 9;
    let mut from_second = VP8[..32].to_vec();
    from_second.extend(&VP8[second..]);
    // Turns the first slice into a B slice: `slice_type` 6.
    let mut bidirectional = H264.to_vec();
    let slice = H264.windows(4).position(|bytes| bytes[..3] == [0, 0, 1] && bytes[3] & 0x1f == 5).unwrap() + 4;
    bidirectional[slice] = 0x9c | bidirectional[slice] & 3;
    for (name, data, kind, why) in [
        ("b.ivf", &VP8[..20], ErrorKind::Invalid, "truncated within its header"),
        ("c.ivf", &VP8[..1_000], ErrorKind::Invalid, "truncated within a frame"),
        ("d.ivf", &VP8[..32], ErrorKind::Invalid, "no frame"),
        ("e.ivf", H264, ErrorKind::Invalid, "not an IVF file"),
        ("f.ivf", &vp9, ErrorKind::Unsupported, "VP90"),
        ("g.ivf", &back, ErrorKind::Invalid, "go back"),
        ("h.ivf", &from_second, ErrorKind::Invalid, "begin with a key frame"),
        ("i.ivf", b"", ErrorKind::Invalid, "empty"),
        ("j.h264", VP8, ErrorKind::Invalid, "start code"),
        ("k.h264", &H264[..20], ErrorKind::Invalid, "no frame"),
        ("l.h264", &bidirectional, ErrorKind::Unsupported, "B frames"),
        ("m.mp4", VP8, ErrorKind::Invalid, ".ivf"),
    ] {
        let error = EncodedClip::read(&write(name, data), 4).unwrap_err();
        let text = error.to_string();
        assert_eq!(error.kind(), kind, "{text}");
        assert!(text.contains(why) && text.contains(name) && !text.contains('\n'), "{text}");
    }
    let long = EncodedClip::read(&write("n.ivf", VP8), 3).unwrap_err();
    assert!(long.to_string().contains("too long"), "{long}");
}

/// Key frames of a file with parameter sets only at the beginning get them too, so that decoding
/// can start at any of them.
#[test]
fn parameter_sets_are_repeated_before_each_key_frame() {
    let clip = EncodedClip::h264().unwrap();
    let mut once = clip.frames[0].data.to_vec();
    for frame in &clip.frames[1..] {
        let idr = frame.data.windows(5).position(|bytes| bytes[..4] == [0, 0, 0, 1] && bytes[4] & 0x1f == 5);
        once.extend(&frame.data[idr.unwrap_or(0)..]);
    }
    assert!(once.len() < H264.len());
    let again = annex_b::parse(&once.into()).unwrap();
    assert_eq!(again.frames, clip.frames);
}
