use super::*;

const BLOCK: usize = 480;
const TICK: Duration = Duration::from_millis(10);

/// A far end at 48 kHz mono whose frames are numbered, so that what is read tells its place.
struct Bench {
    far_end: FarEnd,
    start: Instant,
}

impl Bench {
    fn new() -> Self {
        // Far from the beginning of the clock, so that times before it exist.
        Self { far_end: FarEnd::new(AudioFormat::CALL), start: Instant::now() + Duration::from_secs(1_000) }
    }

    /// The frames of block `number` have the values `number * 480 + 1` and up.
    fn write(&mut self, number: usize, at: Duration) {
        let block: Vec<f32> = (1..=BLOCK).map(|n| (number * BLOCK + n) as f32).collect();
        self.far_end.write(&block, self.start + at);
    }

    fn read(&mut self, at: Duration) -> Vec<f32> {
        let mut out = vec![0.0; BLOCK];
        self.far_end.read(&mut out, self.start + at);
        out
    }

    /// Ticks of the loop: each writes a block that is played `queue` later, and reads.
    fn run(&mut self, ticks: std::ops::Range<usize>, queue: Duration) -> Vec<f32> {
        ticks
            .flat_map(|tick| {
                self.write(tick, TICK * tick as u32 + queue);
                self.read(TICK * tick as u32)
            })
            .collect()
    }
}

fn is_contiguous(frames: &[f32]) -> bool {
    frames.windows(2).all(|pair| pair[1] - pair[0] == 1.0)
}

#[test]
fn a_block_waits_for_the_capture_that_can_contain_its_echo() {
    let mut bench = Bench::new();
    let queue = Duration::from_millis(100);
    let read = bench.run(0..50, queue);
    let ahead = (queue - MAX_LEAD).as_millis() as usize * 48;
    assert!(read[..ahead].iter().all(|frame| *frame == 0.0), "nothing is played before");
    assert_eq!(read[ahead], 1.0, "the first frame is read {MAX_LEAD:?} before it is played");
    assert!(is_contiguous(&read[ahead..]));
}

#[test]
fn the_lead_is_what_is_queued() {
    let mut bench = Bench::new();
    let read = bench.run(0..50, Duration::ZERO);
    assert_eq!(bench.far_end.lead(), Duration::ZERO, "nothing is queued");
    assert!(is_contiguous(&read[..]), "the far end of a capture block is read with it");
}

#[test]
fn jitter_of_the_times_moves_nothing() {
    let mut bench = Bench::new();
    let mut read = Vec::new();
    for tick in 0..200_usize {
        let jitter = Duration::from_millis([0, 7, 3, 9, 1][tick % 5]);
        bench.write(tick, TICK * tick as u32 + Duration::from_millis(60) + jitter);
        read.extend(bench.read(TICK * tick as u32 + jitter / 2));
    }
    let first = read.iter().position(|frame| *frame != 0.0).unwrap();
    // The first times may have been exceptions, which is corrected once.
    let gaps = read[first..].windows(2).filter(|pair| pair[1] - pair[0] != 1.0).count();
    assert!(gaps <= 2, "{gaps} tears");
    assert!(is_contiguous(&read[read.len() / 2..]));
}

#[test]
fn a_doubled_block_counts_once_and_a_late_one_finds_its_place() {
    let mut bench = Bench::new();
    let queue = Duration::from_millis(100);
    for number in [0, 1, 2, 2, 3, 6, 4, 5, 7, 8, 9] {
        bench.write(number, TICK * number as u32 + queue);
    }
    let read: Vec<f32> = (0..10).flat_map(|tick| bench.read(TICK * tick + queue - MAX_LEAD)).collect();
    assert_eq!(read[0], 1.0);
    assert!(is_contiguous(&read), "all ten blocks, each once and in order");
}

#[test]
fn missing_blocks_are_silence_of_their_duration() {
    let mut bench = Bench::new();
    for number in (0..5).chain(8..13) {
        bench.write(number, TICK * number as u32);
    }
    let read: Vec<f32> = (0..13).flat_map(|tick| bench.read(TICK * tick)).collect();
    let place = |number: usize| number * BLOCK - MAX_LEAD.as_millis() as usize * 48;
    assert_eq!(read[place(5) - 1], (5 * BLOCK) as f32);
    assert!(read[place(5)..place(8)].iter().all(|frame| *frame == 0.0));
    assert_eq!(read[place(8)], (8 * BLOCK + 1) as f32);
}

#[test]
fn reading_follows_a_queue_that_changes() {
    for changed in [20, 300] {
        let mut bench = Bench::new();
        bench.run(0..100, Duration::from_millis(100));
        let read = bench.run(100..200, Duration::from_millis(changed));
        // Frame n of block 199 is played `changed` later than block 199 is captured.
        let behind = (changed - bench.far_end.lead().as_millis() as u64) as f32 * 48.0;
        let expected = (199 * BLOCK) as f32 + 1.0 - behind;
        assert_eq!(read[99 * BLOCK], expected, "a queue of {changed} ms");
    }
}

#[test]
fn jumps_of_the_clocks_leave_a_working_timeline() {
    for jump in [Duration::from_secs(1), Duration::from_secs(3_600)] {
        for forward in [true, false] {
            let mut bench = Bench::new();
            bench.run(0..100, Duration::from_millis(50));
            bench.start = if forward { bench.start + jump } else { bench.start - jump.min(Duration::from_secs(900)) };
            let read = bench.run(100..400, Duration::from_millis(50));
            let settled = &read[200 * BLOCK..];
            assert!(settled[0] > 0.0 && is_contiguous(settled), "after {jump:?}, forward {forward}");
        }
    }
}

#[test]
fn capture_times_that_jump_find_silence_or_their_far_end() {
    let mut bench = Bench::new();
    bench.run(0..100, Duration::from_millis(50));
    for seconds in [500, 900] {
        assert!(bench.read(Duration::from_secs(seconds)).iter().all(|frame| *frame == 0.0));
    }
    let read = bench.run(100..110, Duration::from_millis(50));
    assert!(is_contiguous(&read[BLOCK..]) && read[BLOCK] > 0.0);
}

#[test]
fn blocks_without_a_reader_are_bounded() {
    let mut bench = Bench::new();
    for number in 0..10_000 {
        bench.write(number, TICK * number as u32);
    }
    assert_eq!(bench.far_end.ring.len(), AudioFormat::CALL.samples_in(SPAN));
    let last = bench.read(TICK * 9_990);
    assert!(last[0] > 0.0 && is_contiguous(&last));
    let forgotten = bench.read(TICK * 9_000);
    assert!(forgotten.iter().all(|frame| *frame == 0.0));
}

#[test]
fn a_reset_forgets_everything() {
    let mut bench = Bench::new();
    bench.run(0..100, Duration::from_millis(50));
    bench.far_end.reset();
    assert!(bench.read(TICK * 99).iter().all(|frame| *frame == 0.0));
    assert_eq!(bench.far_end.lead(), MAX_LEAD);
}
