//! Analysis of RTP logs: loss, jitter, bursts, reordering, delay, and an estimate of the audible
//! result.

mod svg;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Read;
use std::path::Path;

use blink_api::Result;
use serde::Serialize;

use crate::inspection::failed;
use crate::rtp_log::records::{Log, PacketRecord, Record};

pub use svg::delay_svg;

/// Difference of sequence numbers from which on the sender has restarted (RFC 3550 §A.1).
const RESTART: i64 = 3_000;
/// Points of a curve, at most.
const MOST_POINTS: usize = 1_000;
/// Losses in a row that a decoder conceals without an audible gap, in packets.
const CONCEALED_RUN: u64 = 3;
/// Delay beside the network: encoder, packet and devices, in ms.
const FIXED_DELAY: f64 = 40.0;

/// Analysis of a log.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[non_exhaustive]
pub struct RtpAnalysis {
    /// Bytes at the end of the log that are no whole record.
    pub torn_bytes: u64,
    /// Its tracks.
    pub tracks: Vec<TrackAnalysis>,
}

/// Analysis of one track.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
#[non_exhaustive]
pub struct TrackAnalysis {
    /// The track.
    pub track: String,
    /// The participant's name.
    pub name: String,
    /// The codec.
    pub codec: String,
    /// Whether this endpoint sent it. Loss and delay are then those of its own log.
    pub sent: bool,
    /// Packets, without copies.
    pub packets: u64,
    /// Packets that came twice.
    pub duplicates: u64,
    /// Packets that came after one with a higher sequence number.
    pub reordered: u64,
    /// Packets that never came.
    pub lost: u64,
    /// Share of packets that never came, 0.0 to 1.0.
    pub loss: f64,
    /// Losses in a row: how many times, mean and maximum length in packets.
    pub bursts: Bursts,
    /// Interarrival jitter (RFC 3550 §6.4.1) in ms: mean and maximum over the log.
    pub jitter: f64,
    /// Its maximum.
    pub max_jitter: f64,
    /// Delay in excess of the fastest packet, in ms.
    pub delay: Delays,
    /// Times at which the sender began a new sequence.
    pub restarts: u64,
    /// Estimate of what a listener heard.
    pub audible: Audible,
    /// Verdict.
    pub verdict: Verdict,
    /// Reason of the verdict, as a sentence for users.
    pub reason: String,
    /// Delay over time: seconds since the beginning, ms.
    pub curve: Vec<(f64, f64)>,
    /// Times of losses in seconds.
    pub losses: Vec<f64>,
}

/// Losses in a row.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Bursts {
    /// How many there are.
    pub count: u64,
    /// Mean length in packets.
    pub mean: f64,
    /// Maximum length in packets.
    pub longest: u64,
}

/// Percentiles of delay in ms.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Delays {
    /// Median.
    pub median: f64,
    /// 95th percentile.
    pub p95: f64,
    /// Maximum.
    pub max: f64,
}

/// Estimate of what a listener heard, with a jitter buffer for the 95th percentile of delay.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct Audible {
    /// Share of packets that were lost or too late.
    pub missing: f64,
    /// Gaps that are too long for concealment.
    pub gaps: u64,
    /// Mean opinion score by the E-model (ITU-T G.107), 1.0 to 4.5.
    pub mos: f64,
}

/// Judgement of a track.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Too few packets to judge.
    #[default]
    Unknown,
    /// Nothing is noticed.
    Good,
    /// Noticed, and understood.
    Fair,
    /// Hard to understand.
    Poor,
}

/// Analyses an RTP log.
///
/// # Errors
/// [`NotFound`](blink_api::ErrorKind::NotFound), [`Io`](blink_api::ErrorKind::Io), and
/// [`Invalid`](blink_api::ErrorKind::Invalid) with the reason for what is no log.
pub fn analyze(path: &Path) -> Result<RtpAnalysis> {
    let file = File::open(path).map_err(|source| failed("the RTP log cannot be opened", path, source))?;
    analyze_log(file).map_err(|source| failed("the RTP log cannot be read", path, source))
}

/// As [`analyze`], of anything that can be read.
pub(crate) fn analyze_log(source: impl Read) -> std::io::Result<RtpAnalysis> {
    let log = Log::read(source)?;
    let mut tracks: Vec<(Course, TrackAnalysis)> = Vec::new();
    for record in log.iter() {
        match record {
            Record::Track(track) => {
                let course = Course::new(track.clock_rate);
                let analysis = TrackAnalysis {
                    track: track.key,
                    name: track.name,
                    codec: track.codec,
                    sent: track.local,
                    ..TrackAnalysis::default()
                };
                tracks.push((course, analysis));
            }
            Record::Rtp(packet) => {
                if let Some((course, _)) = tracks.get_mut(usize::from(packet.track)) {
                    course.add(&packet, log.header.begin);
                }
            }
            Record::Rtcp(_) => {}
        }
    }
    let tracks = tracks.into_iter().map(|(course, analysis)| course.finish(analysis)).collect();
    Ok(RtpAnalysis { torn_bytes: log.torn(), tracks })
}

/// The packets of a track.
struct Course {
    clock_rate: f64,
    /// Extended sequence number of each packet; a restart begins after a jump of 2^32.
    sequences: Vec<(i64, f64)>,
    /// Arrival in seconds, and arrival less RTP time in ms, for each.
    arrivals: Vec<(f64, f64)>,
    last: Option<(i64, u32, i64)>,
    highest: i64,
    reordered: u64,
    restarts: u64,
    jitter: f64,
    jitter_sum: f64,
    max_jitter: f64,
    transit: Option<f64>,
    /// Index of the first packet of the present sequence.
    segment: usize,
}

impl Course {
    fn new(clock_rate: u32) -> Self {
        Self {
            clock_rate: f64::from(clock_rate.max(1)),
            sequences: Vec::new(),
            arrivals: Vec::new(),
            last: None,
            highest: 0,
            reordered: 0,
            restarts: 0,
            jitter: 0.0,
            jitter_sum: 0.0,
            max_jitter: 0.0,
            transit: None,
            segment: 0,
        }
    }

    fn add(&mut self, packet: &PacketRecord<'_>, begin: u64) {
        let arrival = packet.arrival.saturating_sub(begin) as f64 / 1e6;
        let (sequence, ticks) = match self.last {
            None => (0, 0),
            Some((sequence, timestamp, ticks)) => {
                let step = i64::from(packet.sequence.wrapping_sub(sequence as u16) as i16);
                let elapsed = i64::from(packet.timestamp.wrapping_sub(timestamp) as i32);
                if step.abs() > RESTART {
                    self.restart();
                    (self.highest + (1 << 32), 0)
                } else {
                    (sequence + step, ticks + elapsed)
                }
            }
        };
        // The low 16 bits of an extended number are those of the packet.
        let sequence = (sequence & !0xffff) | i64::from(packet.sequence);
        let sequence = self.nearest(sequence);
        if self.last.is_some() && sequence < self.highest {
            self.reordered += 1;
        }
        self.highest = if self.last.is_none() { sequence } else { self.highest.max(sequence) };
        let transit = arrival * 1e3 - ticks as f64 / self.clock_rate * 1e3;
        if let Some(before) = self.transit {
            self.jitter += ((transit - before).abs() - self.jitter) / 16.0;
        }
        self.transit = Some(transit);
        self.jitter_sum += self.jitter;
        self.max_jitter = self.max_jitter.max(self.jitter);
        self.last = Some((sequence, packet.timestamp, ticks));
        self.sequences.push((sequence, arrival));
        self.arrivals.push((arrival, transit));
    }

    /// The extended number with these low bits that is nearest to the last packet's.
    fn nearest(&self, sequence: i64) -> i64 {
        let Some((last, ..)) = self.last else { return sequence };
        let step = i64::from((sequence as u16).wrapping_sub(last as u16) as i16);
        if step.abs() > RESTART { sequence } else { last + step }
    }

    /// Makes the delays of one sequence relative to its fastest packet.
    fn restart(&mut self) {
        self.restarts += 1;
        self.settle();
        self.transit = None;
    }

    fn settle(&mut self) {
        let segment = &mut self.arrivals[self.segment..];
        let fastest = segment.iter().map(|(_, transit)| *transit).fold(f64::INFINITY, f64::min);
        segment.iter_mut().for_each(|(_, transit)| *transit -= fastest);
        self.segment = self.arrivals.len();
    }

    fn finish(mut self, mut analysis: TrackAnalysis) -> TrackAnalysis {
        self.settle();
        let all = self.sequences.len() as u64;
        let mut sequences = std::mem::take(&mut self.sequences);
        sequences.sort_by_key(|(sequence, _)| *sequence);
        sequences.dedup_by_key(|(sequence, _)| *sequence);
        analysis.packets = sequences.len() as u64;
        analysis.duplicates = all - analysis.packets;
        analysis.reordered = self.reordered;
        analysis.restarts = self.restarts;
        let mut gaps = 0;
        for pair in sequences.windows(2) {
            let missing = (pair[1].0 - pair[0].0 - 1) as u64;
            // A greater one is a restart.
            if missing == 0 || missing > RESTART as u64 {
                continue;
            }
            analysis.lost += missing;
            analysis.bursts.count += 1;
            analysis.bursts.longest = analysis.bursts.longest.max(missing);
            gaps += u64::from(missing > CONCEALED_RUN);
            if analysis.losses.len() < MOST_POINTS {
                analysis.losses.push(pair[1].1);
            }
        }
        let expected = (analysis.packets + analysis.lost).max(1) as f64;
        analysis.loss = analysis.lost as f64 / expected;
        analysis.bursts.mean = analysis.lost as f64 / analysis.bursts.count.max(1) as f64;
        analysis.jitter = self.jitter_sum / all.max(1) as f64;
        analysis.max_jitter = self.max_jitter;
        let mut delays: Vec<f64> = self.arrivals.iter().map(|(_, delay)| *delay).collect();
        delays.sort_by(f64::total_cmp);
        let at = |share: f64| delays.get((delays.len() as f64 * share) as usize).or(delays.last()).copied();
        let delay = |share: f64| at(share).unwrap_or(0.0);
        analysis.delay = Delays { median: delay(0.5), p95: delay(0.95), max: delay(1.0) };
        let buffer = analysis.delay.p95 + 10.0;
        let late = delays.iter().filter(|delay| **delay > buffer).count() as f64;
        let missing = (analysis.lost as f64 + late) / expected;
        let mos = mean_opinion(missing, analysis.bursts.mean.max(1.0), buffer + FIXED_DELAY);
        analysis.audible = Audible { missing, gaps, mos };
        analysis.curve = thin_out(&self.arrivals);
        judge(&mut analysis);
        analysis
    }
}

/// The E-model (ITU-T G.107) with the robustness of Opus' concealment.
fn mean_opinion(missing: f64, burst: f64, delay: f64) -> f64 {
    const ROBUSTNESS: f64 = 20.0;
    let percent = missing * 100.0;
    let equipment = 95.0 * percent / (percent / burst + ROBUSTNESS).max(f64::MIN_POSITIVE);
    let delay = 0.024 * delay + 0.11 * (delay - 177.3).max(0.0);
    let r = (93.2 - equipment - delay).clamp(0.0, 100.0);
    1.0 + 0.035 * r + r * (r - 60.0) * (100.0 - r) * 7e-6
}

/// The greatest delay of each span of a curve.
fn thin_out(arrivals: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let span = arrivals.len().div_ceil(MOST_POINTS).max(1);
    let greatest = |chunk: &[(f64, f64)]| chunk.iter().copied().max_by(|a, b| a.1.total_cmp(&b.1));
    arrivals.chunks(span).filter_map(greatest).collect()
}

fn judge(analysis: &mut TrackAnalysis) {
    const FEWEST: u64 = 50;
    if analysis.packets < FEWEST {
        analysis.reason = format!("{} packets are too few to judge", analysis.packets);
        return;
    }
    analysis.verdict = match analysis.audible.mos {
        mos if mos >= 4.0 => Verdict::Good,
        mos if mos >= 3.1 => Verdict::Fair,
        _ => Verdict::Poor,
    };
    let Audible { missing, gaps, .. } = analysis.audible;
    analysis.reason = if missing >= 0.01 && analysis.loss >= missing / 2.0 {
        let gaps = if gaps > 0 { format!(", with {gaps} audible gaps") } else { String::new() };
        format!(
            "{:.1} % of the packets were lost, up to {} in a row{gaps}",
            analysis.loss * 100.0,
            analysis.bursts.longest
        )
    } else if analysis.delay.p95 >= 150.0 || missing >= 0.01 {
        format!("delay varies by {:.0} ms, up to {:.0} ms", analysis.delay.p95, analysis.delay.max)
    } else {
        format!("{:.1} % lost, {:.0} ms of jitter", analysis.loss * 100.0, analysis.jitter)
    };
}
