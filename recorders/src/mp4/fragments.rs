//! An MP4 file that can be read at any moment while it is written.
//!
//! ```text
//! ftyp | moov free | moof mdat | moof mdat | …          while it is written
//! ftyp | mdat (64-bit length)               … | moov    when it is complete
//! ```
//!
//! The first `moov` has room to grow. A fragment is written as a `free` box, and committed by
//! overwriting its type with `moof`: a torn `moof` makes readers refuse the whole file. On finish a
//! complete `moov` is appended, and everything before it becomes one `mdat` by an overwrite of 16
//! bytes.

use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};

use mp4_atom::{Encode, FourCC, Ftyp, Mfhd, Moof, Tfdt, Tfhd, Traf, Trak, Trun, TrunEntry};

use super::media::Media;
use super::movie::{self, NO_SYNC, SYNC, SampleTable};

/// Tracks and samples of a file.
pub(crate) struct FragmentedFile {
    file: File,
    tracks: Vec<FragmentedTrack>,
    sequence: u32,
    /// Position of the first `moov`, and the room for it.
    moov: u64,
    reserve: u32,
    /// End of the last committed fragment.
    end: u64,
}

struct FragmentedTrack {
    description: Trak,
    audio: bool,
    /// Position of the first sample since the beginning of the recording, which is 0 in the media.
    first: u64,
    /// Samples of the next fragment.
    queue: Vec<Queued>,
    data: Vec<u8>,
    table: SampleTable,
}

struct Queued {
    position: u64,
    ticks: u32,
    size: u32,
    key: bool,
}

/// Whether a track was added.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Added {
    Track(usize),
    /// The reserve is full, or the codec cannot be described.
    NoRoom,
}

impl FragmentedFile {
    /// Begins an empty file.
    pub(crate) fn create(mut file: File, reserve: u32) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let brand = FourCC::new(b"iso6");
        let compatible_brands = vec![brand, FourCC::new(b"isom"), FourCC::new(b"mp41")];
        Ftyp { major_brand: brand, minor_version: 0, compatible_brands }.encode(&mut bytes).map_err(encoding)?;
        file.write_all(&bytes)?;
        let moov = bytes.len() as u64;
        let end = moov + u64::from(reserve);
        let mut this = Self { file, tracks: Vec::new(), sequence: 1, moov, reserve, end };
        let empty = this.describe()?.ok_or_else(|| io::Error::other("the reserve is too small"))?;
        this.write_moov(&empty)?;
        Ok(this)
    }

    /// Adds a track whose first sample is at `first`, in its own ticks.
    pub(crate) fn add_track(&mut self, media: &Media, name: &str, first: u64) -> io::Result<Added> {
        let delay = u128::from(first) * u128::from(movie::MOVIE_RATE) / u128::from(media.timescale());
        let id = self.tracks.len() as u32 + 1;
        let Some(description) = movie::track(id, media, name, u64::try_from(delay).unwrap_or(0)) else {
            return Ok(Added::NoRoom);
        };
        self.tracks.push(FragmentedTrack {
            description,
            audio: media.is_audio(),
            first,
            queue: Vec::new(),
            data: Vec::new(),
            table: SampleTable::default(),
        });
        let Some(moov) = self.describe()? else {
            self.tracks.pop();
            return Ok(Added::NoRoom);
        };
        self.write_moov(&moov)?;
        Ok(Added::Track(self.tracks.len() - 1))
    }

    /// Queues a sample, whose position is in ticks since the beginning of the recording.
    pub(crate) fn push(&mut self, track: usize, position: u64, ticks: u32, key: bool, data: &[u8]) {
        let track = &mut self.tracks[track];
        let position = position.saturating_sub(track.first);
        track.queue.push(Queued { position, ticks, size: data.len() as u32, key });
        track.data.extend_from_slice(data);
    }

    /// Bytes that are queued.
    pub(crate) fn queued(&self) -> usize {
        self.tracks.iter().map(|track| track.data.len()).sum()
    }

    /// Writes everything that is queued as one fragment, and commits it.
    pub(crate) fn cut(&mut self) -> io::Result<()> {
        if self.tracks.iter().all(|track| track.queue.is_empty()) {
            return Ok(());
        }
        let (bytes, data) = self.fragment()?;
        self.file.write_all(&bytes)?;
        self.file.seek(SeekFrom::Start(self.end + 4))?;
        self.file.write_all(b"moof")?;
        // Only what is committed is listed.
        let mut offset = self.end + data;
        for track in self.tracks.iter_mut().filter(|track| !track.queue.is_empty()) {
            track.table.add_chunk(offset, track.queue.len() as u32);
            for sample in track.queue.drain(..) {
                track.table.add(sample.position, sample.ticks, sample.size, sample.key);
            }
            offset += track.data.len() as u64;
            track.data.clear();
        }
        self.sequence = self.sequence.wrapping_add(1);
        self.end += bytes.len() as u64;
        self.file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }

    /// Completes the file: seekable in every player.
    pub(crate) fn finish(mut self) -> io::Result<()> {
        self.cut()?;
        let tracks = std::mem::take(&mut self.tracks);
        let tracks = tracks.into_iter().map(|track| (track.description, track.table)).collect();
        complete(&mut self.file, self.moov, self.end, tracks).inspect_err(|_| {
            // What is appended by half is cut off: the file is then as good as before.
            self.file.set_len(self.end).ok();
        })
    }

    /// Cuts off what is not committed, after a failure, and completes the file where there is room.
    pub(crate) fn salvage(mut self) -> io::Result<()> {
        self.file.set_len(self.end)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        for track in &mut self.tracks {
            track.queue.clear();
        }
        self.finish()
    }

    /// The next fragment, typed `free`, and the position of its media.
    fn fragment(&self) -> io::Result<(Vec<u8>, u64)> {
        let mut moof = Moof { mfhd: Mfhd { sequence_number: self.sequence }, traf: Vec::new() };
        let mut offsets = Vec::new();
        let mut length = 0usize;
        for track in self.tracks.iter().filter(|track| !track.queue.is_empty()) {
            offsets.push(length);
            length += track.data.len();
            moof.traf.push(track.fragment());
        }
        let mut bytes = Vec::with_capacity(length + 4_096);
        moof.encode(&mut bytes).map_err(encoding)?;
        let data = bytes.len() + 8;
        for (traf, offset) in moof.traf.iter_mut().zip(offsets) {
            let offset = i32::try_from(data + offset).map_err(|_| io::Error::other("a fragment exceeds 2 GiB"))?;
            traf.trun[0].data_offset = Some(offset);
        }
        bytes.clear();
        moof.encode(&mut bytes).map_err(encoding)?;
        bytes[4..8].copy_from_slice(b"free");
        bytes.extend_from_slice(&(length as u32 + 8).to_be_bytes());
        bytes.extend_from_slice(b"mdat");
        self.tracks.iter().for_each(|track| bytes.extend_from_slice(&track.data));
        Ok((bytes, data as u64))
    }

    /// The first `moov` with its room; `None` where it does not fit.
    fn describe(&self) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        let tracks = self.tracks.iter().map(|track| track.description.clone()).collect();
        movie::growing(tracks).encode(&mut bytes).map_err(encoding)?;
        let Some(free) = (self.reserve as usize).checked_sub(bytes.len()).filter(|free| *free >= 8) else {
            return Ok(None);
        };
        bytes.extend_from_slice(&(free as u32).to_be_bytes());
        bytes.extend_from_slice(b"free");
        bytes.resize(self.reserve as usize, 0);
        Ok(Some(bytes))
    }

    fn write_moov(&mut self, moov: &[u8]) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(self.moov))?;
        self.file.write_all(moov)?;
        self.file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }

    /// Leaves room without content, for tests of large files.
    #[cfg(test)]
    pub(crate) fn skip(&mut self, bytes: u64) -> io::Result<()> {
        let mut header = vec![0, 0, 0, 1];
        header.extend_from_slice(b"free");
        header.extend_from_slice(&bytes.to_be_bytes());
        self.file.write_all(&header)?;
        self.end += bytes;
        self.file.seek(SeekFrom::Start(self.end))?;
        Ok(())
    }
}

impl FragmentedTrack {
    fn fragment(&self) -> Traf {
        let first = self.queue.first().map_or(0, |sample| sample.position);
        let samples = self.queue.iter().enumerate().map(|(index, sample)| {
            // A sample lasts until the next one.
            let next = self.queue.get(index + 1);
            let ticks = next.map_or(sample.ticks, |next| {
                u32::try_from(next.position.saturating_sub(sample.position)).unwrap_or(u32::MAX)
            });
            let flags = if sample.key { SYNC } else { NO_SYNC };
            TrunEntry {
                duration: Some(ticks),
                size: Some(sample.size),
                flags: (!self.audio).then_some(flags),
                cts: None,
            }
        });
        Traf {
            tfhd: Tfhd { track_id: self.description.tkhd.track_id, default_base_is_moof: true, ..Tfhd::default() },
            tfdt: Some(Tfdt { base_media_decode_time: first }),
            trun: vec![Trun { data_offset: Some(0), samples: samples.collect::<Vec<_>>().into() }],
            ..Traf::default()
        }
    }
}

/// Appends the complete `moov` of a file at `end`, and hides everything from `begin` on in an
/// `mdat`. Where this fails, what is before `end` is as before.
pub(crate) fn complete(
    file: &mut (impl Write + Seek),
    begin: u64,
    end: u64,
    tracks: Vec<(Trak, SampleTable)>,
) -> io::Result<()> {
    let mut moov = Vec::new();
    movie::complete(tracks).encode(&mut moov).map_err(encoding)?;
    moov[4..8].copy_from_slice(b"free");
    file.seek(SeekFrom::Start(end))?;
    file.write_all(&moov)?;
    file.seek(SeekFrom::Start(end + 4))?;
    file.write_all(b"moov")?;
    let mut header = vec![0, 0, 0, 1];
    header.extend_from_slice(b"mdat");
    header.extend_from_slice(&(end - begin).to_be_bytes());
    file.seek(SeekFrom::Start(begin))?;
    file.write_all(&header)?;
    file.flush()
}

fn encoding(error: mp4_atom::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::box_reader::Movie;

    #[test]
    fn files_beyond_4_gib_have_64_bit_offsets() {
        let named = tempfile::Builder::new().suffix(".mp4").tempfile().unwrap();
        let mut file = named.reopen().unwrap();
        let mut written = FragmentedFile::create(named.reopen().unwrap(), 16 << 10).unwrap();
        let Added::Track(track) = written.add_track(&Media::Opus { channels: 1 }, "one", 0).unwrap() else {
            panic!("there is room")
        };
        for second in 0..3u64 {
            for packet in 0..50 {
                written.push(track, (second * 50 + packet) * 960, 960, true, &[0xf8, 0xff, 0xfe]);
            }
            written.cut().unwrap();
            written.skip(3 << 30).unwrap();
        }
        written.finish().unwrap();
        let movie = Movie::read(&mut file).unwrap();
        assert!(movie.complete);
        let samples = &movie.tracks[0].samples;
        assert_eq!(samples.len(), 150);
        assert!(samples[149].offset > 6 << 30);
        let mut packet = [0; 3];
        file.seek(SeekFrom::Start(samples[149].offset)).unwrap();
        io::Read::read_exact(&mut file, &mut packet).unwrap();
        assert_eq!(packet, [0xf8, 0xff, 0xfe]);
        assert_eq!(packets_in_ffprobe(named.path()), "150");
        let independent = mp4::read_mp4(named.reopen().unwrap()).unwrap();
        assert_eq!(independent.sample_count(1).unwrap(), 150);
    }

    /// Packets that ffprobe reads, without a complaint.
    fn packets_in_ffprobe(path: &std::path::Path) -> String {
        let arguments =
            ["-v", "warning", "-count_packets", "-show_entries", "stream=nb_read_packets", "-of", "csv=p=0"];
        let output = std::process::Command::new("ffprobe").args(arguments).arg(path).output();
        let output = output.expect("ffprobe is installed: script/setup installs it");
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "{complaints}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    #[test]
    fn tracks_beyond_the_reserve_have_no_room_and_do_no_harm() {
        let mut file = tempfile::tempfile().unwrap();
        let mut written = FragmentedFile::create(file.try_clone().unwrap(), 4 << 10).unwrap();
        let mut tracks = 0;
        while written.add_track(&Media::Opus { channels: 1 }, "one", 0).unwrap() != Added::NoRoom {
            tracks += 1;
        }
        assert!((3..20).contains(&tracks), "{tracks}");
        written.push(0, 0, 960, true, &[0xf8, 0xff, 0xfe]);
        written.cut().unwrap();
        assert_eq!(Movie::read(&mut file).unwrap().tracks.len(), tracks);
    }
}
