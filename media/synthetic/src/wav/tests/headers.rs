//! Headers of real writers, each of a kind that a strict reader refuses or misinterprets.

use super::*;

/// 440 Hz for 0.2 s at 48 kHz, with a peak of 0.5.
fn tone() -> Vec<f64> {
    (0..9_600).map(|n| 0.5 * (f64::from(n) * 440.0 * std::f64::consts::TAU / 48_000.0).sin()).collect()
}

/// File in parts, which a test case changes.
#[derive(Clone)]
struct Parts {
    outer: [u8; 4],
    riff_length: Option<u32>,
    tag: u16,
    channels: u16,
    byte_rate: u32,
    alignment: u16,
    bits: u16,
    /// Extension after the first 16 bytes of `fmt `.
    extension: Vec<u8>,
    /// Chunks between `fmt ` and `data`, with their headers.
    chunks: Vec<u8>,
    data_length: Option<u32>,
    data: Vec<u8>,
    /// Bytes after `data`.
    tail: Vec<u8>,
}

impl Parts {
    fn pcm(bits: u16, data: Vec<u8>) -> Self {
        let alignment = bits.div_ceil(8);
        Self {
            outer: *b"RIFF",
            riff_length: None,
            tag: 1,
            channels: 1,
            byte_rate: 48_000 * u32::from(alignment),
            alignment,
            bits,
            extension: Vec::new(),
            chunks: Vec::new(),
            data_length: None,
            data,
            tail: Vec::new(),
        }
    }

    fn pcm_16() -> Self {
        Self::pcm(16, tone().iter().flat_map(|sample| ((sample * 32_767.0).round() as i16).to_le_bytes()).collect())
    }

    /// 24 bits in 32, left-justified as specified or right-justified.
    fn pcm_24_in_32(is_left: bool) -> Self {
        let word = |sample: &f64| {
            let value = (sample * 8_388_607.0).round() as i32;
            (if is_left { value << 8 } else { value }).to_le_bytes()
        };
        let parts = Self::pcm(32, tone().iter().flat_map(word).collect());
        Self { bits: 24, ..parts }
    }

    /// Adds the extension of WAVEFORMATEXTENSIBLE, followed by `more` bytes.
    fn extensible(self, valid_bits: u16, more: usize) -> Self {
        let mut extension = Vec::new();
        extension.extend(u16::try_from(22 + more).unwrap().to_le_bytes());
        extension.extend(valid_bits.to_le_bytes());
        extension.extend(4u32.to_le_bytes());
        extension.extend(self.tag.to_le_bytes());
        extension.extend([0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xaa, 0, 0x38, 0x9b, 0x71]);
        extension.extend(vec![0xEE; more]);
        Self { tag: 0xFFFE, extension, ..self }
    }

    fn chunk(mut self, id: &[u8; 4], content: &[u8], padding: &[u8]) -> Self {
        self.chunks.extend([&id[..], &(content.len() as u32).to_le_bytes(), content, padding].concat());
        self
    }

    fn file(&self) -> Vec<u8> {
        let mut format = Vec::new();
        format.extend(self.tag.to_le_bytes());
        format.extend(self.channels.to_le_bytes());
        format.extend(48_000u32.to_le_bytes());
        format.extend(self.byte_rate.to_le_bytes());
        format.extend(self.alignment.to_le_bytes());
        format.extend(self.bits.to_le_bytes());
        format.extend(&self.extension);
        let data_length = self.data_length.unwrap_or(self.data.len() as u32);
        let body = [
            &b"WAVEfmt "[..],
            &(format.len() as u32).to_le_bytes(),
            &format,
            &self.chunks,
            b"data",
            &data_length.to_le_bytes(),
            &self.data,
            &self.tail,
        ]
        .concat();
        [&self.outer[..], &self.riff_length.unwrap_or(body.len() as u32).to_le_bytes(), &body].concat()
    }
}

#[test]
fn headers_of_real_writers_are_read() {
    let pcm = Parts::pcm_16;
    let streamed = |data_length| Parts { data_length: Some(data_length), ..pcm() };
    let mut ds64 = 0u64.to_le_bytes().to_vec();
    ds64.extend(19_200u64.to_le_bytes());
    ds64.extend([0; 12]);
    let float = |bits: u16| {
        let bytes = |sample: &f64| match bits {
            32 => (*sample as f32).to_le_bytes().to_vec(),
            _ => sample.to_le_bytes().to_vec(),
        };
        Parts { tag: 3, ..Parts::pcm(bits, tone().iter().flat_map(bytes).collect()) }
    };
    let cases = [
        ("plain", pcm()),
        ("a chunk of odd length", pcm().chunk(b"iXML", b"<a>1</a>x", b"\0")),
        ("a chunk of odd length with other padding", pcm().chunk(b"iXML", b"<a>1</a>x", b"d")),
        ("a chunk of odd length without padding", pcm().chunk(b"iXML", b"<a>1</a>x", b"")),
        ("fact of 4 bytes", pcm().chunk(b"fact", &[1, 0, 0, 0], b"")),
        ("fact of no bytes", pcm().chunk(b"fact", b"", b"")),
        ("fact of 12 bytes", pcm().chunk(b"fact", &[0xFF; 12], b"")),
        ("fact of 5 bytes", pcm().chunk(b"fact", &[7; 5], b"\0")),
        ("ffmpeg to a pipe", Parts { riff_length: Some(u32::MAX), ..streamed(u32::MAX) }),
        ("SoX to a pipe", Parts { riff_length: Some(0x7FFF_F024), ..streamed(0x7FFF_F000) }),
        ("arecord to a pipe", Parts { riff_length: Some(0x8000_0024), ..streamed(0x8000_0000) }),
        ("a length of -36", streamed(0xFFFF_FFDB)),
        ("a recorder that was killed", Parts { riff_length: Some(0), ..streamed(0) }),
        ("no length of the file", Parts { riff_length: Some(0), ..pcm() }),
        ("a wrong length of the file", Parts { riff_length: Some(77), ..pcm() }),
        ("an incomplete last frame", Parts { data: [pcm().data, vec![1]].concat(), ..pcm() }),
        ("bytes after the samples", Parts { tail: b"LIST\xff\xff\xff\xff".to_vec(), ..pcm() }),
        ("no byte rate", Parts { byte_rate: 0, ..pcm() }),
        ("no alignment", Parts { alignment: 0, ..pcm() }),
        ("a wrong alignment", Parts { alignment: 4, ..pcm() }),
        ("an empty extension", Parts { extension: vec![0, 0], ..pcm() }),
        ("an extension of 5 bytes", Parts { extension: vec![3, 0, 1, 2, 3, 0], ..pcm() }),
        ("an extension of odd length", Parts { extension: vec![1, 0, 9, 0], ..pcm() }),
        ("extensible", pcm().extensible(16, 0)),
        ("extensible and longer", pcm().extensible(16, 10)),
        ("extensible without valid bits", pcm().extensible(0, 0)),
        ("24 bits in 32, extensible", Parts { bits: 32, ..Parts::pcm_24_in_32(true) }.extensible(24, 0)),
        ("24 bits in 32, extensible, on the right", Parts { bits: 32, ..Parts::pcm_24_in_32(false) }.extensible(24, 0)),
        ("24 bits in 32, by the alignment", Parts::pcm_24_in_32(true)),
        ("24 bits in 32, by the alignment, on the right", Parts::pcm_24_in_32(false)),
        ("32-bit floats with an extension", Parts { extension: vec![0, 0], ..float(32) }),
        ("32-bit floats, extensible", float(32).extensible(32, 0)),
        ("64-bit floats", float(64)),
        ("RF64", Parts { outer: *b"RF64", riff_length: Some(u32::MAX), ..streamed(u32::MAX) }.ds64(&ds64)),
        ("BW64", Parts { outer: *b"BW64", riff_length: Some(u32::MAX), ..streamed(u32::MAX) }.ds64(&ds64)),
    ];
    for (name, parts) in cases {
        let pcm = read(&parts.file()).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(pcm.format, AudioFormat::CALL, "{name}");
        assert_eq!(pcm.samples.len(), 9_600, "{name}");
        let error = pcm.samples.iter().zip(tone()).map(|(read, made)| (f64::from(*read) - made).abs());
        let error = error.fold(0.0, f64::max);
        assert!(error < 1e-4, "{name}: {error}");
    }
}

impl Parts {
    /// Adds a `ds64` chunk, which has to come first.
    fn ds64(self, content: &[u8]) -> Self {
        Self { chunks: Vec::new(), ..self.clone() }.chunk(b"ds64", content, b"")
    }
}

#[test]
fn g711_in_a_wav_file_is_read() {
    for (tag, encode) in
        [(6, audio_codec_algorithms::encode_alaw as fn(i16) -> u8), (7, audio_codec_algorithms::encode_ulaw)]
    {
        let data = tone().iter().map(|sample| encode((sample * 32_767.0) as i16)).collect();
        let parts = Parts { tag, ..Parts::pcm(8, data) };
        for parts in [parts.clone(), Parts { extension: vec![0, 0], ..parts.clone() }, parts.extensible(8, 0)] {
            let pcm = read(&parts.file()).unwrap();
            let near = pcm.samples.iter().zip(tone()).all(|(read, made)| (f64::from(*read) - made).abs() < 0.02);
            assert!(pcm.samples.len() == 9_600 && near, "{tag}");
        }
    }
}

#[test]
fn invalid_headers_are_refused_with_the_reason() {
    let pcm = Parts::pcm_16;
    for (parts, why) in [
        (Parts { data_length: Some(19_202), ..pcm() }, "truncated"),
        (Parts { data_length: Some(0x7FFF_0000), ..pcm() }, "truncated"),
        (Parts { data_length: Some(0), ..pcm() }, "no audio"),
        (Parts { channels: 0, ..pcm() }, "no channels"),
        (Parts { outer: *b"RIFX", ..pcm() }, "big-endian"),
        (Parts { outer: *b"FORM", ..pcm() }, "not a WAV file"),
        (Parts { tag: 2, ..pcm() }, "PCM"),
        (Parts { tag: 0x55, ..pcm() }, "PCM"),
        (Parts { tag: 0xFFFE, ..pcm() }, "PCM"),
        (Parts { bits: 40, ..pcm() }, "sample size"),
        (Parts { bits: 0, alignment: 0, ..pcm() }, "sample size"),
        (Parts { bits: u16::MAX, alignment: u16::MAX, channels: u16::MAX, ..pcm() }, "sample size"),
        (pcm().chunk(b"LIST", &[], b"").with_length(u32::MAX), "truncated"),
    ] {
        let error = read(&parts.file()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains(why), "{why}: {error}");
    }
    let mut late = pcm().file();
    late[12..16].copy_from_slice(b"junk");
    assert!(read(&late).unwrap_err().to_string().contains("precede their format"));
    assert!(read(&pcm().file()[..36]).unwrap_err().to_string().contains("no audio"));
}

impl Parts {
    /// Changes the declared length of the last chunk before the samples.
    fn with_length(mut self, length: u32) -> Self {
        let end = self.chunks.len();
        self.chunks[end - 4..].copy_from_slice(&length.to_le_bytes());
        self
    }
}
