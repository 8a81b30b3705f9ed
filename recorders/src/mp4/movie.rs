//! The boxes that describe the tracks: for a file that grows, and for one that is complete.

use mp4_atom::{
    Co64, Dinf, Dref, DrefEntry, Edts, Elst, ElstEntry, FourCC, Hdlr, Mdhd, Mdia, Minf, Moov, Mvex, Mvhd, Smhd, Stbl,
    Stco, Stsc, StscEntry, Stsd, Stss, Stsz, StszSamples, Stts, SttsEntry, Tkhd, Trak, Trex, Url, Vmhd,
};

use super::media::Media;

/// Ticks per second of the movie's own times.
pub(crate) const MOVIE_RATE: u32 = 48_000;
/// Sample flags: depends on no other, and depends on others and is no sync sample
/// (ISO/IEC 14496-12 §8.8.3.1).
pub(crate) const SYNC: u32 = 0x0200_0000;
pub(crate) const NO_SYNC: u32 = 0x0101_0000;

/// Samples of one track, as the complete file lists them.
#[derive(Debug, Clone, Default)]
pub(crate) struct SampleTable {
    durations: Vec<SttsEntry>,
    sizes: Vec<u32>,
    sync: Vec<u32>,
    /// Position and number of samples of each run in the file.
    chunks: Vec<(u64, u32)>,
    /// End of the last sample, in ticks from the first.
    end: u64,
}

impl SampleTable {
    /// Adds a sample; `position` is not before the end of the last one, which lasts until then.
    pub(crate) fn add(&mut self, position: u64, ticks: u32, size: u32, sync: bool) {
        if let Some(pause) = position.checked_sub(self.end).filter(|pause| *pause > 0) {
            self.extend_last(u32::try_from(pause).unwrap_or(u32::MAX));
        }
        match self.durations.last_mut() {
            Some(run) if run.sample_delta == ticks => run.sample_count += 1,
            _ => self.durations.push(SttsEntry { sample_count: 1, sample_delta: ticks }),
        }
        self.end += u64::from(ticks);
        self.sizes.push(size);
        if sync {
            self.sync.push(self.sizes.len() as u32);
        }
    }

    /// Adds a run of samples that are behind each other in the file.
    pub(crate) fn add_chunk(&mut self, offset: u64, samples: u32) {
        self.chunks.push((offset, samples));
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    pub(crate) fn len(&self) -> usize {
        self.sizes.len()
    }

    fn extend_last(&mut self, ticks: u32) {
        let Some(run) = self.durations.last_mut() else { return };
        let extended = run.sample_delta.saturating_add(ticks);
        self.end += u64::from(extended - run.sample_delta);
        if run.sample_count == 1 {
            run.sample_delta = extended;
        } else {
            run.sample_count -= 1;
            self.durations.push(SttsEntry { sample_count: 1, sample_delta: extended });
        }
    }

    /// Fills the sample tables of a track.
    fn describe(self, stbl: &mut Stbl, audio: bool) {
        stbl.stts = Stts { entries: self.durations };
        stbl.stsz = Stsz { samples: StszSamples::Different { sizes: self.sizes } };
        stbl.stss = (!audio).then_some(Stss { entries: self.sync });
        let mut entries: Vec<StscEntry> = Vec::new();
        for (chunk, (_, samples)) in (1..).zip(&self.chunks) {
            if entries.last().is_none_or(|last| last.samples_per_chunk != *samples) {
                entries.push(StscEntry {
                    first_chunk: chunk,
                    samples_per_chunk: *samples,
                    sample_description_index: 1,
                });
            }
        }
        stbl.stsc = Stsc { entries };
        stbl.stco = None;
        stbl.co64 = Some(Co64 { entries: self.chunks.into_iter().map(|(offset, _)| offset).collect() });
    }
}

/// The description of a track without samples; `None` where the codec cannot be described.
///
/// `delay` is the time before its first sample, in ticks of the movie.
pub(crate) fn track(id: u32, media: &Media, name: &str, delay: u64) -> Option<Trak> {
    let audio = media.is_audio();
    let (width, height) = media.size();
    let mut trak = Trak {
        tkhd: Tkhd {
            track_id: id,
            enabled: true,
            in_movie: true,
            volume: u8::from(audio).into(),
            width: width.into(),
            height: height.into(),
            ..Tkhd::default()
        },
        mdia: Mdia {
            mdhd: Mdhd { timescale: media.timescale(), language: "und".into(), ..Mdhd::default() },
            hdlr: Hdlr { handler: FourCC::new(if audio { b"soun" } else { b"vide" }), name: name.into() },
            minf: Minf {
                vmhd: (!audio).then(Vmhd::default),
                smhd: audio.then(Smhd::default),
                dinf: Dinf { dref: Dref { entries: vec![DrefEntry::Url(Url::default())] } },
                stbl: Stbl {
                    stsd: Stsd { codecs: vec![media.entry()?] },
                    stco: Some(Stco::default()),
                    ..Stbl::default()
                },
                ..Minf::default()
            },
        },
        ..Trak::default()
    };
    set_edits(&mut trak, delay, media.pre_skip(), 0);
    Some(trak)
}

/// Sets the edit list: a pause of `delay`, then the media from `skip` on.
fn set_edits(trak: &mut Trak, delay: u64, skip: u64, duration: u64) {
    let edit = |segment_duration, media_time| ElstEntry { segment_duration, media_time, media_rate: 1i16.into() };
    let mut entries = Vec::new();
    if delay > 0 {
        entries.push(edit(delay, None));
    }
    if delay > 0 || skip > 0 {
        entries.push(edit(duration, Some(skip)));
    }
    trak.edts = (!entries.is_empty()).then_some(Edts { elst: Some(Elst { entries }) });
}

/// Delay and skipped media of a track's edit list.
pub(crate) fn edits(trak: &Trak) -> (u64, u64) {
    let entries = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref()).map_or(&[][..], |elst| &elst.entries);
    let delay = entries.iter().filter(|edit| edit.media_time.is_none()).map(|edit| edit.segment_duration).sum();
    (delay, entries.iter().find_map(|edit| edit.media_time).unwrap_or(0))
}

/// Describes the tracks of a file that grows by fragments.
pub(crate) fn growing(tracks: Vec<Trak>) -> Moov {
    let trex = tracks.iter().map(|trak| Trex {
        track_id: trak.tkhd.track_id,
        default_sample_description_index: 1,
        default_sample_duration: 0,
        default_sample_size: 0,
        default_sample_flags: if is_audio(trak) { SYNC } else { NO_SYNC },
    });
    let mvex = Some(Mvex { mehd: None, trex: trex.collect() });
    Moov { mvhd: header(&tracks, 0), mvex, trak: tracks, ..Moov::default() }
}

/// Describes the tracks of a complete file. Tracks without samples are not in it.
pub(crate) fn complete(tracks: Vec<(Trak, SampleTable)>) -> Moov {
    let mut described = Vec::new();
    let mut longest = 0;
    for (mut trak, table) in tracks.into_iter().filter(|(_, table)| table.len() > 0) {
        let rate = u64::from(trak.mdia.mdhd.timescale.max(1));
        let (delay, skip) = edits(&trak);
        let media = table.end();
        let shown = u128::from(media.saturating_sub(skip)) * u128::from(MOVIE_RATE) / u128::from(rate);
        let shown = u64::try_from(shown).unwrap_or(u64::MAX);
        set_edits(&mut trak, delay, skip, shown);
        trak.mdia.mdhd.duration = media;
        trak.tkhd.duration = delay.saturating_add(shown);
        longest = longest.max(trak.tkhd.duration);
        let audio = is_audio(&trak);
        table.describe(&mut trak.mdia.minf.stbl, audio);
        described.push(trak);
    }
    Moov { mvhd: header(&described, longest), trak: described, ..Moov::default() }
}

fn is_audio(trak: &Trak) -> bool {
    trak.mdia.minf.smhd.is_some()
}

fn header(tracks: &[Trak], duration: u64) -> Mvhd {
    let next_track_id = tracks.iter().map(|trak| trak.tkhd.track_id).max().unwrap_or(0).saturating_add(1);
    Mvhd { timescale: MOVIE_RATE, duration, rate: 1u16.into(), volume: 1u8.into(), next_track_id, ..Mvhd::default() }
}
