//! From the microphone to the speaker, over a simulated network.

use super::*;

/// Some people who speak, and one who hears them all.
pub(super) struct Room {
    pub(super) speaking: Vec<Capture>,
    pub(super) playout: Playout<usize>,
    /// Packets on their way, with when they arrive and whose they are.
    pub(super) underway: Vec<(Instant, usize, RtpOut)>,
    /// Room for those that arrive in a tick.
    pub(super) arrived: Vec<(usize, RtpIn)>,
    pub(super) mid: Mid,
    pub(super) now: Instant,
    pub(super) tick: u32,
    /// One of so many packets is lost, and one of so many is late; 0 for none.
    pub(super) lost: u32,
    /// Allocations, without those of lists of who speaks.
    pub(super) allocations: u64,
}

impl Room {
    pub(super) fn new(lost: u32, copies: bool) -> Self {
        let codec = OpusCodec::new(OpusConfig::default()).unwrap();
        let format = AudioFormat::CALL;
        let mut playout = Playout::new(Box::new(Speaker));
        let speaking = (0..PEOPLE).map(|person| {
            let frame = Duration::from_millis(20);
            let encoder = codec.encoder(AudioEncoderConfig { format, frame, bitrate: None }).unwrap();
            playout.add(
                person,
                ReceiveConfig::new(&codec.rtp()),
                codec.decoder(AudioDecoderConfig { format }).unwrap(),
            );
            let source = Speech { samples: speech_clip(person, Duration::from_secs(10)), at: 0 };
            let config = CaptureConfig {
                format,
                codec: codec.rtp(),
                frame,
                first_sequence: 65_000,
                first_timestamp: RtpTime(u32::MAX - 100_000),
            };
            let mut capture = Capture::new(config, Box::new(source), encoder).unwrap();
            let loss = if lost == 0 { 0.0 } else { 1.0 / lost as f32 };
            capture.use_copies(|_| copies).unwrap();
            capture.adapt(WorstCasePath { loss, burst: 1.0, bitrate: Some(24_000) }).unwrap();
            capture
        });
        let speaking = speaking.collect();
        let (underway, arrived) = (Vec::with_capacity(100), Vec::with_capacity(100));
        let (mid, now) = (Mid::new("0"), Instant::now());
        Self { speaking, playout, underway, arrived, mid, now, tick: 0, lost, allocations: 0 }
    }

    pub(super) fn run(&mut self, ticks: u32) {
        for _ in 0..ticks {
            let mut told = 0;
            let allocated = measure(|| told = self.tick()).count_total;
            self.allocations += allocated.saturating_sub(told);
        }
    }

    /// Returns how many lists there were to tell.
    pub(super) fn tick(&mut self) -> u64 {
        let mut arrived = std::mem::take(&mut self.arrived);
        self.speak_into(&mut arrived);
        for (person, packet) in arrived.drain(..) {
            self.playout.push(&person, packet);
        }
        self.arrived = arrived;
        let report = self.playout.tick(self.now);
        assert!(report.sink_error.is_none());
        u64::from(!report.started.is_empty()) + u64::from(!report.speaking.is_empty())
    }

    /// 10 ms go by. Returns the packets that arrive by then.
    pub(super) fn speak(&mut self) -> Vec<(usize, RtpIn)> {
        let mut arrived = Vec::new();
        self.speak_into(&mut arrived);
        arrived
    }

    pub(super) fn speak_into(&mut self, arrived: &mut Vec<(usize, RtpIn)>) {
        self.tick += 1;
        self.now += TICK;
        let Self { speaking, underway, mid, lost, .. } = self;
        let (now, lost, frame) = (self.now, *lost, self.tick / 2);
        for (person, capture) in speaking.iter_mut().enumerate() {
            let number = frame + person as u32;
            let mut send = |packet: RtpOut| {
                if lost == 0 || !number.is_multiple_of(lost) {
                    let late = if lost > 0 && number % lost == 3 { 3 * TICK } else { TICK / 5 };
                    underway.push((now + late, person, packet));
                }
            };
            capture.tick(now, &mut Processors::default(), &mut send).unwrap();
            capture.take_speaking();
        }
        underway.retain(|(arrival, person, packet)| {
            if *arrival > now {
                return true;
            }
            let packet = RtpIn {
                mid: mid.clone(),
                payload_type: 111,
                codec: packet.codec.clone(),
                sequence: packet.sequence,
                timestamp: packet.timestamp,
                marker: packet.marker,
                level: packet.level,
                payload: packet.payload.clone(),
                arrival: *arrival,
            };
            arrived.push((*person, packet));
            false
        });
    }
}

/// Allocations, and what was heard of one person.
fn allocations(lost: u32, copies: bool) -> (u64, AudioStatistics) {
    let mut room = Room::new(lost, copies);
    room.run(WARM_UP);
    room.allocations = 0;
    room.run(TICKS);
    let heard = room.playout.statistics(&0).unwrap();
    assert!(heard.packets_decoded > u64::from(TICKS) / 3, "{heard:?}");
    (room.allocations, heard)
}

/// The counter counts: what allocates is found out.
#[test]
fn allocations_are_counted() {
    assert_eq!(measure(|| drop(std::hint::black_box(vec![0_u8; 10]))).count_total, 1);
}

/// Four people speak for a minute, one hears them: capture, encoding, packets, jitter buffers,
/// decoding and mixing allocate nothing.
#[test]
fn a_minute_of_speech_allocates_nothing() {
    assert_eq!(allocations(0, false).0, 0);
}

/// Nor do they where packets are lost and late, and what is missing is recovered and made up.
#[test]
fn a_minute_with_losses_allocates_nothing() {
    let (allocations, heard) = allocations(12, false);
    assert!(heard.fec_recovered > 0, "nothing was recovered: the test tests too little");
    assert_eq!(allocations, 0);
}

/// Nor where packets carry copies of those before.
#[test]
fn a_minute_with_copies_allocates_nothing() {
    let (allocations, heard) = allocations(12, true);
    assert!(heard.red_recovered > 0, "nothing came from a copy: the test tests too little");
    assert_eq!(allocations, 0);
}
