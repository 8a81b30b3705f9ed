//! Reports of media as messages on the data channel.

use std::time::Duration;

use blink_api::{Mid, RtpTime, StreamId};
use blink_media::{CapturePoint, ReportedCapture, RtpStamp, SectionReport};
use blink_proto::wire::{self, CaptureReport, ChannelMessage, MAX_CAPTURES, REPORT_VERSION};

pub(super) fn report_message(
    interval: Duration,
    sections: &[SectionReport],
    captures: &[CapturePoint],
) -> ChannelMessage {
    ChannelMessage::Report {
        version: REPORT_VERSION,
        interval_ms: u32::try_from(interval.as_millis()).unwrap_or(u32::MAX),
        sections: sections.iter().map(section_to_wire).collect(),
        captures: captures.iter().take(MAX_CAPTURES).map(capture_to_wire).collect(),
    }
}

fn capture_to_wire(point: &CapturePoint) -> CaptureReport {
    CaptureReport {
        stream: point.track.source.stream().map(|stream| (*stream.as_bytes()).into()),
        clock_rate: point.stamp.clock_rate,
        timestamp: point.stamp.timestamp.0,
        captured_us: point.captured_us,
    }
}

fn section_to_wire(report: &SectionReport) -> wire::SectionReport {
    let micros = |duration: Duration| u32::try_from(duration.as_micros()).unwrap_or(u32::MAX);
    wire::SectionReport {
        mid: report.mid.as_str().to_owned(),
        expected: report.expected,
        lost: report.lost,
        runs: report.runs,
        jitter_us: micros(report.jitter),
        delay_us: micros(report.delay),
        bytes: report.bytes,
    }
}

pub(super) fn capture_from_wire(report: &wire::CaptureReport) -> ReportedCapture {
    let stream = report.stream.as_ref().map(|stream| StreamId::from_bytes((*stream).into()));
    let stamp = RtpStamp { timestamp: RtpTime(report.timestamp), clock_rate: report.clock_rate };
    ReportedCapture { source: stream.into(), stamp, captured_us: report.captured_us }
}

pub(super) fn section_from_wire(report: &wire::SectionReport) -> SectionReport {
    SectionReport {
        mid: Mid::new(&report.mid),
        expected: report.expected,
        lost: report.lost,
        runs: report.runs,
        jitter: Duration::from_micros(report.jitter_us.into()),
        delay: Duration::from_micros(report.delay_us.into()),
        bytes: report.bytes,
    }
}
