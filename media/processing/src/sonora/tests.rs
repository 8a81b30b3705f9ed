use super::*;

fn processor(config: SonoraConfig, format: AudioFormat) -> Box<dyn AudioProcessor> {
    SonoraFactory::new(config).unwrap().processor(format).unwrap()
}

/// Noise bursts of an eighth of a second, from a fixed seed.
fn bursts(rate: u32) -> Vec<f32> {
    let mut seed = 1_u32;
    let mut noise = move || {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as f32 / (1 << 24) as f32 - 0.5
    };
    (0..rate).map(|n| if (n / (rate / 8)).is_multiple_of(2) { noise() * 0.3 } else { 0.0 }).collect()
}

/// The delay in frames at which the correlation of two signals is greatest.
fn measured_delay(input: &[f32], output: &[f32], rate: u32) -> usize {
    let correlation =
        |delay: usize| -> f32 { input.iter().zip(&output[delay..]).map(|(one, other)| one * other).sum() };
    let score: Vec<f32> = (0..rate as usize / 20).map(correlation).collect();
    (0..score.len()).max_by(|one, other| score[*one].total_cmp(&score[*other])).unwrap()
}

#[test]
fn the_delay_is_exact_for_each_switch_and_sample_rate() {
    for sample_rate in RATES {
        for switches in 1..8 {
            let [echo_cancellation, noise_suppression, gain_control] = [1, 2, 4].map(|bit| switches & bit != 0);
            let config = SonoraConfig { echo_cancellation, noise_suppression, gain_control, ..SonoraConfig::default() };
            let format = AudioFormat { sample_rate, channels: 1 };
            let mut processor = processor(config, format);
            let input = bursts(sample_rate);
            let mut output = input.clone();
            let mut at = Instant::now();
            for block in output.chunks_mut(sample_rate as usize / 100) {
                processor.capture(block, at).unwrap();
                at += Duration::from_millis(10);
            }
            let expected = (processor.delay().as_secs_f64() * f64::from(sample_rate)).round() as usize;
            assert_eq!(measured_delay(&input, &output, sample_rate), expected, "{sample_rate} Hz, {config:?}");
        }
    }
}

#[test]
fn what_is_switched_off_is_not_declared() {
    let capabilities = SonoraFactory::new(SonoraConfig::default()).unwrap().capabilities();
    assert_eq!(capabilities, ProcessorCapabilities { noise_suppression: false, ..CAPABILITIES });
    let config = SonoraConfig { noise_suppression: true, ..SonoraConfig::default() };
    assert_eq!(SonoraFactory::new(config).unwrap().capabilities(), CAPABILITIES);
}

#[test]
fn configurations_without_effect_or_out_of_range_are_refused() {
    let off = SonoraConfig {
        echo_cancellation: false,
        noise_suppression: false,
        gain_control: false,
        ..SonoraConfig::default()
    };
    let loud = SonoraConfig { max_gain_db: 51.0, ..SonoraConfig::default() };
    let none = SonoraConfig { headroom_db: f32::NAN, ..SonoraConfig::default() };
    for (config, key) in [(off, "processors.sonora"), (loud, "max_gain_db"), (none, "headroom_db")] {
        let error = SonoraFactory::new(config).err().unwrap();
        assert!(error.kind() == ErrorKind::Invalid && error.to_string().contains(key), "{error}");
    }
}
