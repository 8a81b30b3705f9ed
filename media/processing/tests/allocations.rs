//! Verifies what processors allocate in the steady state: nothing of their own, and what the
//! libraries allocate inside, measured, bounded and freed again in the same block.

use std::sync::Arc;
use std::time::{Duration, Instant};

use allocation_counter::measure;
use blink_api::{AudioFormat, AudioProcessorFactory};
use blink_media_processing::{NnnoiselessFactory, SonoraConfig, SonoraFactory};
use blink_media_synthetic::speech_clip;

const BLOCK: usize = 480;
const WARM_UP: usize = 500;
const BLOCKS: usize = 1_000;

#[test]
fn allocations_in_the_steady_state_are_those_of_the_libraries() {
    let seconds = Duration::from_millis(10) * (WARM_UP + BLOCKS) as u32;
    let (far, near) = (speech_clip(0, seconds), speech_clip(2, seconds));
    let sonora = SonoraFactory::new(SonoraConfig::default()).unwrap();
    let factories: [(&str, Arc<dyn AudioProcessorFactory>, u64); 2] =
        [("sonora", Arc::new(sonora), 55), ("nnnoiseless", Arc::new(NnnoiselessFactory), 0)];
    for (name, factory, per_block) in factories {
        let mut processor = factory.processor(AudioFormat::CALL).unwrap();
        let start = Instant::now();
        let mut near: Vec<f32> = near.iter().zip(&far).map(|(near, far)| 0.5 * near + 0.3 * far).collect();
        let mut blocks = near.chunks_exact_mut(BLOCK).zip(far.chunks_exact(BLOCK)).enumerate();
        let mut step = |(number, (near, far)): (usize, (&mut [f32], &[f32]))| {
            let at = start + Duration::from_millis(10) * number as u32;
            processor.render(far, at + Duration::from_millis(40)).unwrap();
            processor.capture(near, at).unwrap();
        };
        blocks.by_ref().take(WARM_UP).for_each(&mut step);
        let allocations = measure(|| blocks.for_each(&mut step));
        assert!(allocations.count_total <= per_block * BLOCKS as u64, "{name}: {allocations:?} in {BLOCKS} blocks");
        assert_eq!((allocations.count_current, allocations.bytes_current), (0, 0), "{name} grows");
    }
}
