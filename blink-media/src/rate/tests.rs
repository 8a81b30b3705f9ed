use std::collections::VecDeque;

use super::*;

const DEMAND: AudioDemand = AudioDemand { bitrate: 32_000, frame: Duration::from_millis(20) };
const STEP: Duration = Duration::from_millis(20);
/// Video as it is offered: 15 frames a second and a key frame each second, 300 kbit/s.
const FRAMES: [usize; 15] =
    [9_500, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000, 2_000];

/// Link with a queue, audio and video that are sent over it, and a receiver that reports once a
/// second.
struct Link {
    now: Instant,
    /// Bits per second, and the longest queue.
    capacity: f64,
    longest: Duration,
    /// Every n-th packet is lost as well; 0 for none.
    lossy: u32,
    queue: VecDeque<f64>,
    queued: f64,
    credit: f64,
    sent: u32,
    dropped: u32,
    received: f64,
    waited: f64,
    controller: RateController,
    room: VideoRateGate,
    frame: usize,
    /// Bitrate of audio in each second, video frames sent, the queue in seconds.
    audio: Vec<u32>,
    video_frames: Vec<u32>,
    delays: Vec<f64>,
}

impl Link {
    fn new(capacity: f64) -> Self {
        Self {
            now: Instant::now(),
            capacity,
            longest: Duration::from_millis(400),
            lossy: 0,
            queue: VecDeque::new(),
            queued: 0.0,
            credit: 0.0,
            sent: 0,
            dropped: 0,
            received: 0.0,
            waited: f64::MAX,
            controller: RateController::default(),
            room: VideoRateGate::default(),
            frame: 0,
            audio: Vec::new(),
            video_frames: Vec::new(),
            delays: Vec::new(),
        }
    }

    fn send(&mut self, payload: f64) {
        self.sent += 1;
        let bits = payload + HEADERS;
        if (self.lossy > 0 && self.sent.is_multiple_of(self.lossy))
            || (self.queued + bits) / self.capacity > self.longest.as_secs_f64()
        {
            self.dropped += 1;
            return;
        }
        self.waited = self.waited.min(self.queued / self.capacity);
        self.queue.push_back(bits);
        self.queued += bits;
    }

    fn second(&mut self) {
        let mut video_frames = 0;
        let allocation = self.controller.allocation(self.now, DEMAND);
        self.room.set_rate(self.now, Some(allocation.video));
        for step in 0..50 {
            self.now += STEP;
            self.send(f64::from(allocation.audio) * STEP.as_secs_f64());
            if step * 15 / 50 != (step + 1) * 15 / 50 {
                let bytes = FRAMES[self.frame % FRAMES.len()];
                if self.room.admit(self.now, bytes, self.frame.is_multiple_of(FRAMES.len())) {
                    video_frames += 1;
                    (0..bytes.div_ceil(1_200)).for_each(|n| self.send(8.0 * (bytes - n * 1_200).min(1_200) as f64));
                }
                self.frame += 1;
            }
            self.credit = (self.credit + self.capacity * STEP.as_secs_f64()).min(self.queued);
            while let Some(bits) = self.queue.front().copied().filter(|bits| *bits <= self.credit) {
                self.queue.pop_front();
                self.queued -= bits;
                self.credit -= bits;
                self.received += bits;
            }
        }
        let report = PathReport {
            loss: self.dropped as f32 / self.sent.max(1) as f32,
            delay: Duration::from_secs_f64(if self.waited < 1e9 { self.waited } else { 0.0 }),
            received: self.received,
        };
        self.controller.handle_report(report, DEMAND);
        self.audio.push(allocation.audio);
        self.video_frames.push(video_frames);
        self.delays.push(report.delay.as_secs_f64());
        (self.sent, self.dropped, self.received, self.waited) = (0, 0, 0.0, f64::MAX);
    }

    fn run(&mut self, seconds: usize) {
        (self.audio, self.video_frames, self.delays) = (Vec::new(), Vec::new(), Vec::new());
        (0..seconds).for_each(|_| self.second());
    }
}

/// With room for both, audio and video have all they want from the beginning on.
#[test]
fn a_wide_path_is_used_by_both() {
    let mut link = Link::new(5_000_000.0);
    link.run(30);
    assert!(link.audio.iter().all(|bitrate| *bitrate == DEMAND.bitrate), "{:?}", link.audio);
    assert!(link.video_frames.iter().all(|frames| *frames == 15), "{:?}", link.video_frames);
}

/// A path that carries audio and half of the video: audio loses nothing, some video gets through,
/// and the queue empties within a few seconds and stays short.
#[test]
fn a_narrow_path_takes_from_video_first_and_its_queue_empties() {
    let mut link = Link::new(200_000.0);
    link.run(60);
    assert!(link.audio.iter().all(|bitrate| *bitrate == DEMAND.bitrate), "{:?}", link.audio);
    let video_frames: u32 = link.video_frames[10..].iter().sum();
    assert!((150..700).contains(&video_frames), "{:?}", link.video_frames);
    let long = link.delays[10..].iter().filter(|delay| **delay > 0.2).count();
    assert!(long <= 3, "{:?}", link.delays);
}

/// A path that does not carry even the audio: it is sent at a lower bitrate, and no video; when the
/// path is wide again, all comes back.
#[test]
fn a_path_too_narrow_for_sound_lowers_its_rate_and_all_comes_back() {
    let mut link = Link::new(45_000.0);
    link.run(30);
    let last = &link.audio[20..];
    assert!(last.iter().all(|bitrate| (LEAST_AUDIO..DEMAND.bitrate).contains(bitrate)), "{:?}", link.audio);
    let mean = f64::from(last.iter().sum::<u32>()) / last.len() as f64;
    assert!(mean > 15_000.0 && mean + DEMAND.headers() < link.capacity, "{mean} {:?}", link.audio);
    assert!(link.video_frames[20..].iter().sum::<u32>() <= 5, "{:?}", link.video_frames);
    assert!(link.delays[20..].iter().all(|delay| *delay < 0.2), "{:?}", link.delays);
    link.capacity = 5_000_000.0;
    link.run(40);
    assert_eq!(link.audio[39], DEMAND.bitrate, "{:?}", link.audio);
    assert_eq!(link.video_frames[35..], [15; 5], "{:?}", link.video_frames);
}

/// Loss without a queue takes from video, and nothing from audio: that needs its bits to correct
/// the loss.
#[test]
fn loss_without_a_queue_takes_nothing_from_audio() {
    let mut link = Link::new(5_000_000.0);
    link.lossy = 5;
    link.run(60);
    assert!(link.audio.iter().all(|bitrate| *bitrate == DEMAND.bitrate), "{:?}", link.audio);
    assert!(link.video_frames[50..].iter().all(|frames| *frames < 15), "{:?}", link.video_frames);
}

#[test]
fn the_lesser_of_both_estimates_counts_while_it_is_fresh() {
    let (mut controller, now) = (RateController::default(), Instant::now());
    controller.handle_estimate(now, 100_000);
    let allocation = controller.allocation(now, DEMAND);
    assert_eq!(allocation.audio, 32_000);
    assert!((40_000..45_000).contains(&allocation.video), "{allocation:?}");
    controller.handle_estimate(now, 0);
    assert_eq!(controller.allocation(now, DEMAND), Allocation { audio: LEAST_AUDIO, video: 0 });
    assert!(controller.allocation(now + STALE, DEMAND).video > 1_000_000, "a transport that says nothing any more");
}

/// Everything that is sent can be decoded: after a dropped frame comes none before a key frame.
#[test]
fn video_pauses_until_a_key_frame_and_on_average_keep_to_their_rate() {
    let (mut room, start) = (VideoRateGate::default(), Instant::now());
    assert!(room.admit(start, 1_000_000, false), "without a limit all is sent");
    room.set_rate(start, Some(100_000));
    let (mut whole, mut bits) = (true, 0);
    for n in 0..600_usize {
        let (key, bytes) = (n.is_multiple_of(15), FRAMES[n % 15]);
        let admitted = room.admit(start + Duration::from_secs(1) * n as u32 / 15, bytes, key);
        assert!(!admitted || whole || key, "frame {n} needs one that was not sent");
        whole = admitted;
        bits += if admitted { bytes * 8 } else { 0 };
    }
    assert!((2_500_000..4_200_000).contains(&bits), "{bits} bits in 40 s");
    let end = start + Duration::from_secs(60);
    room.set_rate(end, Some(0));
    assert!(!room.admit(end, 100, true) && !room.wants_key_frame(end + Duration::from_secs(9)));
    room.set_rate(end, None);
    assert!(room.wants_key_frame(end) && !room.admit(end, 100, false) && room.admit(end, 100, true));
    assert!(!room.wants_key_frame(end) && room.admit(end, 100, false));
}
