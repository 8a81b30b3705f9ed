//! Samples of the tracks: tables of complete files, and fragments.

use std::io;

use super::boxes::{Boxes, Fields, find, invalid, u32_at, u64_at};
use super::{MovieTrack, SampleRef};

/// Samples of all tracks, at most: ten hours of four tracks.
const MOST_SAMPLES: usize = 8_000_000;

/// Samples and their bytes that a file may still list. Each byte belongs to one sample, so that
/// neither memory nor exports exceed the size of the file by more than a constant factor.
pub(super) struct Budget {
    samples: usize,
    bytes: u64,
}

impl Budget {
    /// The budget of a file of this many bytes.
    pub(super) fn of(length: u64) -> Self {
        Self { samples: MOST_SAMPLES, bytes: length }
    }

    fn spend(&mut self, size: u32) -> io::Result<()> {
        self.samples = self.samples.checked_sub(1).ok_or_else(|| invalid("the MP4 file has too many samples"))?;
        // An empty sample would cost memory without a byte of the file.
        let bytes = self.bytes.checked_sub(u64::from(size)).filter(|_| size > 0);
        self.bytes = bytes.ok_or_else(|| invalid("the MP4 file lists samples that it does not have"))?;
        Ok(())
    }
}

/// Reads the tables of samples (ISO/IEC 14496-12 §8.6, §8.7).
pub(super) fn read_tables(stbl: &[u8], track: &mut MovieTrack, budget: &mut Budget) -> io::Result<()> {
    let damaged = || invalid("the MP4 file's sample tables are damaged");
    let stsz = find(stbl, &[b"stsz"]).unwrap_or_default();
    let (each, count) = (u32_at(stsz, 4).unwrap_or(0), u32_at(stsz, 8).unwrap_or(0) as usize);
    if count == 0 {
        return Ok(());
    }
    let sizes = stsz.get(12..).unwrap_or_default();
    if each == 0 && sizes.len() / 4 < count {
        return Err(damaged());
    }
    let size = |index: usize| if each > 0 { Some(each) } else { u32_at(sizes, index * 4) };
    let mut durations = Runs::new(find(stbl, &[b"stts"]).unwrap_or_default(), 8);
    let offsets = match find(stbl, &[b"co64"]) {
        Some(co64) => Offsets { table: co64.get(8..).unwrap_or_default(), width: 8 },
        None => Offsets { table: find(stbl, &[b"stco"]).and_then(|stco| stco.get(8..)).unwrap_or_default(), width: 4 },
    };
    let runs = find(stbl, &[b"stsc"]).and_then(|stsc| stsc.get(8..)).unwrap_or_default();
    let mut run = 0;
    let mut position = 0u64;
    for chunk in 0.. {
        if track.samples.len() == count {
            break;
        }
        while u32_at(runs, (run + 1) * 12).is_some_and(|first| first as usize <= chunk + 1) {
            run += 1;
        }
        let in_chunk = u32_at(runs, run * 12 + 4).filter(|samples| *samples > 0).ok_or_else(damaged)?;
        let mut offset = offsets.at(chunk).ok_or_else(damaged)?;
        let in_chunk = (in_chunk as usize).min(count - track.samples.len());
        for _ in 0..in_chunk {
            let (size, ticks) = (size(track.samples.len()).ok_or_else(damaged)?, durations.next().ok_or_else(damaged)?);
            budget.spend(size)?;
            track.samples.push(SampleRef { offset, position, size, ticks, sync: !track.video });
            offset = offset.checked_add(u64::from(size)).ok_or_else(damaged)?;
            position = position.saturating_add(u64::from(ticks));
        }
        track.chunks.push(in_chunk as u32);
    }
    let sync = find(stbl, &[b"stss"]).and_then(|stss| stss.get(8..)).unwrap_or_default();
    for number in sync.chunks_exact(4).filter_map(|number| u32_at(number, 0)) {
        if let Some(sample) = (number as usize).checked_sub(1).and_then(|index| track.samples.get_mut(index)) {
            sample.sync = true;
        }
    }
    Ok(())
}

/// Durations in runs (`stts`).
struct Runs<'a> {
    table: &'a [u8],
    left: u32,
    ticks: u32,
}

impl<'a> Runs<'a> {
    fn new(content: &'a [u8], header: usize) -> Self {
        Self { table: content.get(header..).unwrap_or_default(), left: 0, ticks: 0 }
    }

    fn next(&mut self) -> Option<u32> {
        while self.left == 0 {
            (self.left, self.ticks) = (u32_at(self.table, 0)?, u32_at(self.table, 4)?);
            self.table = &self.table[8..];
        }
        self.left -= 1;
        Some(self.ticks)
    }
}

struct Offsets<'a> {
    table: &'a [u8],
    width: usize,
}

impl Offsets<'_> {
    fn at(&self, index: usize) -> Option<u64> {
        let at = index.checked_mul(self.width)?;
        if self.width == 8 { u64_at(self.table, at) } else { u32_at(self.table, at).map(u64::from) }
    }
}

/// Reads a fragment (ISO/IEC 14496-12 §8.8).
pub(super) fn read_moof(moof: &[u8], moof_at: u64, tracks: &mut [MovieTrack], budget: &mut Budget) -> io::Result<()> {
    let damaged = || invalid("a fragment of the MP4 file is damaged");
    for (_, traf) in Boxes(moof).filter(|(kind, _)| kind == b"traf") {
        let tfhd = find(traf, &[b"tfhd"]).ok_or_else(damaged)?;
        let id = u32_at(tfhd, 4).ok_or_else(damaged)?;
        let track = tracks.iter_mut().find(|track| track.id == id).ok_or_else(damaged)?;
        let flags = u32_at(tfhd, 0).unwrap_or(0);
        let mut fields = Fields(tfhd.get(8..).unwrap_or_default());
        let base = fields.u64_if(flags & 1 != 0).unwrap_or(moof_at);
        fields.u32_if(flags & 2 != 0);
        let default_ticks = fields.u32_if(flags & 8 != 0).unwrap_or(0);
        let default_size = fields.u32_if(flags & 0x10 != 0).unwrap_or(0);
        let mut position = match find(traf, &[b"tfdt"]) {
            Some(tfdt) if tfdt.first() == Some(&1) => u64_at(tfdt, 4).ok_or_else(damaged)?,
            Some(tfdt) => u64::from(u32_at(tfdt, 4).ok_or_else(damaged)?),
            None => track.end(),
        };
        for (_, trun) in Boxes(traf).filter(|(kind, _)| kind == b"trun") {
            let (flags, count) = (u32_at(trun, 0).ok_or_else(damaged)?, u32_at(trun, 4).ok_or_else(damaged)?);
            let mut fields = Fields(trun.get(8..).unwrap_or_default());
            let shift = fields.u32_if(flags & 1 != 0).unwrap_or(0) as i32;
            fields.u32_if(flags & 4 != 0);
            let mut offset = base.checked_add_signed(shift.into()).ok_or_else(damaged)?;
            for _ in 0..count {
                let ticks = fields.value(flags & 0x100 != 0, default_ticks).ok_or_else(damaged)?;
                let size = fields.value(flags & 0x200 != 0, default_size).ok_or_else(damaged)?;
                let sample_flags = fields.value(flags & 0x400 != 0, 0).ok_or_else(damaged)?;
                fields.value(flags & 0x800 != 0, 0).ok_or_else(damaged)?;
                let sync = !track.video || flags & 0x400 != 0 && sample_flags & 0x0001_0000 == 0;
                budget.spend(size)?;
                track.samples.push(SampleRef { offset, position, size, ticks, sync });
                offset = offset.checked_add(u64::from(size)).ok_or_else(damaged)?;
                position = position.saturating_add(u64::from(ticks));
            }
            if count > 0 {
                track.chunks.push(count);
            }
        }
    }
    Ok(())
}
