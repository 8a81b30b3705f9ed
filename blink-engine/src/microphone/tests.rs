use super::*;
use std::f64::consts::PI;

async fn open(microphone: &Microphone, rate: u32, channels: u16) -> Box<dyn AudioSource> {
    let request = OpenRequest::new(AudioFormat { sample_rate: rate, channels }, Duration::from_millis(10));
    microphone.media_host().open_audio_source(DEVICE, request).await.unwrap()
}

fn tone(rate: u32, frames: usize) -> Vec<f32> {
    (0..frames).map(|n| (0.5 * (n as f64 * 440.0 / f64::from(rate) * 2.0 * PI).sin()) as f32).collect()
}

/// Reads blocks of 10 ms at 48 kHz.
fn read(source: &mut dyn AudioSource, blocks: usize) -> Vec<f32> {
    let mut heard = vec![9.0; 480 * blocks];
    for block in heard.chunks_mut(480) {
        assert_eq!(source.read(block).unwrap().samples, 480);
    }
    heard
}

#[tokio::test]
async fn samples_are_read_unchanged_in_the_rate_of_the_call_and_then_silence() {
    let microphone = Microphone::samples(48_000, 1).unwrap();
    let given = tone(48_000, 4_800);
    microphone.push(&given).await.unwrap();
    assert_eq!(microphone.queued(), Duration::from_millis(100));
    microphone.finish();
    let mut source = open(&microphone, 48_000, 1).await;
    let heard = read(&mut *source, 15);
    assert_eq!(heard[..4_800], given);
    assert!(heard[4_800..].iter().all(|sample| *sample == 0.0));
    assert!(source.has_ended());
    assert_eq!(microphone.queued(), Duration::ZERO);
}

#[tokio::test]
async fn other_rates_and_channels_are_converted() {
    for (rate, channels) in [(8_000, 1), (16_000, 2), (44_100, 1), (24_000, 8)] {
        let microphone = Microphone::samples(rate, channels).unwrap();
        let given = tone(rate, rate as usize / 2);
        let interleaved: Vec<_> =
            given.iter().flat_map(|sample| std::iter::repeat_n(*sample, channels.into())).collect();
        microphone.push(&interleaved).await.unwrap();
        let mut source = open(&microphone, 48_000, 1).await;
        let heard = read(&mut *source, 50);
        let expected = tone(48_000, 24_000);
        let middle = 2_400..21_600;
        let worst = middle.map(|n| (heard[n] - expected[n]).abs()).fold(0.0, f32::max);
        assert!(worst < 0.005, "{rate} Hz, {channels} channels: {worst}");
    }
}

#[tokio::test]
async fn a_push_waits_for_room_and_one_without_waiting_takes_all_or_nothing() {
    let microphone = Arc::new(Microphone::samples(48_000, 1).unwrap());
    let two_seconds = vec![0.25; 96_000];
    microphone.try_push(&two_seconds).unwrap();
    let refused = microphone.try_push(&[0.25]).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Full, "{refused}");
    let pusher = microphone.clone();
    let push = tokio::spawn(async move { pusher.push(&vec![0.5; 48_000]).await });
    let mut source = open(&microphone, 48_000, 1).await;
    let mut heard = Vec::new();
    while heard.len() < 3 * 48_000 {
        heard.extend(read(&mut *source, 1));
        tokio::task::yield_now().await;
    }
    push.await.unwrap().unwrap();
    let (first, second) = (&heard[480..95_000], &heard[97_000..3 * 48_000 - 480]);
    assert!(first.iter().all(|sample| (sample - 0.25).abs() < 0.01) && second.iter().all(|x| (x - 0.5).abs() < 0.01));
    microphone.drained().await;
}

#[tokio::test]
async fn what_waits_can_be_discarded_with_and_without_an_open_source() {
    let microphone = Microphone::samples(48_000, 1).unwrap();
    microphone.push(&vec![0.5; 9_600]).await.unwrap();
    microphone.clear();
    assert_eq!(microphone.queued(), Duration::ZERO);
    microphone.push(&vec![0.5; 9_600]).await.unwrap();
    let mut source = open(&microphone, 48_000, 1).await;
    assert!(read(&mut *source, 5)[1_000..].iter().all(|sample| *sample > 0.4));
    microphone.clear();
    assert!(read(&mut *source, 5).iter().all(|sample| *sample == 0.0));
    microphone.drained().await;
    microphone.push(&vec![0.25; 9_600]).await.unwrap();
    let heard = read(&mut *source, 5);
    assert!(heard[1_000..].iter().all(|sample| (sample - 0.25).abs() < 0.01), "it goes on with new ones");
}

#[tokio::test]
async fn after_silence_audio_waits_for_the_next_push_but_not_for_ever() {
    let microphone = Microphone::samples(48_000, 1).unwrap();
    let mut source = open(&microphone, 48_000, 1).await;
    microphone.push(&[0.5; 480]).await.unwrap();
    assert!(read(&mut *source, 2).iter().all(|sample| *sample == 0.0), "10 ms are too few");
    assert!(read(&mut *source, 2).iter().any(|sample| *sample > 0.4), "and are played where no more come");
    read(&mut *source, 5);
    microphone.push(&[0.5; 960]).await.unwrap();
    assert!(read(&mut *source, 1).iter().any(|sample| *sample > 0.4), "20 ms are played at once");
}

#[tokio::test]
async fn one_source_at_a_time_and_the_next_one_continues() {
    let microphone = Microphone::samples(48_000, 1).unwrap();
    microphone.push(&vec![0.5; 48_000]).await.unwrap();
    let host = microphone.media_host();
    let mut source = open(&microphone, 48_000, 1).await;
    let request = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
    assert_eq!(host.open_audio_source(DEVICE, request).await.err().unwrap().kind(), ErrorKind::Busy);
    assert_eq!(host.open_audio_source("other", request).await.err().unwrap().kind(), ErrorKind::NotFound);
    read(&mut *source, 20);
    drop(source);
    let left = microphone.queued();
    assert!((Duration::from_millis(780)..=Duration::from_millis(800)).contains(&left), "{left:?}");
    let mut source = open(&microphone, 48_000, 2).await;
    assert_eq!(source.read(&mut vec![0.0; 960]).unwrap().samples, 960);
}

#[tokio::test]
async fn a_finished_microphone_takes_nothing_and_ends_with_its_last_sample() {
    let microphone = Microphone::samples(16_000, 1).unwrap();
    microphone.push(&vec![0.5; 1_600]).await.unwrap();
    let mut source = open(&microphone, 48_000, 1).await;
    read(&mut *source, 5);
    microphone.finish();
    assert_eq!(microphone.push(&[0.1]).await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(microphone.try_push(&[0.1]).unwrap_err().kind(), ErrorKind::Closed);
    assert!(!source.has_ended());
    let rest = read(&mut *source, 10);
    assert!(source.has_ended() && rest[2_000] > 0.4 && rest[3_000..].iter().all(|sample| *sample == 0.0));
    drop(microphone);
    assert!(source.has_ended());
}

#[tokio::test]
async fn samples_and_formats_that_cannot_be_are_refused() {
    for (rate, channels) in [(0, 1), (7_999, 1), (192_001, 1), (48_000, 0), (48_000, 9)] {
        assert_eq!(Microphone::samples(rate, channels).unwrap_err().kind(), ErrorKind::Invalid);
    }
    let microphone = Microphone::samples(48_000, 2).unwrap();
    for samples in [&[0.0][..], &[0.0, f32::NAN], &[f32::INFINITY, 0.0]] {
        assert_eq!(microphone.push(samples).await.unwrap_err().kind(), ErrorKind::Invalid);
        assert_eq!(microphone.try_push(samples).unwrap_err().kind(), ErrorKind::Invalid);
    }
    assert_eq!(microphone.queued(), Duration::ZERO);
    // A rate without a small ratio to the call's is an error at the opening.
    let odd = Microphone::samples(47_999, 1).unwrap();
    let request = OpenRequest::new(AudioFormat::CALL, Duration::from_millis(10));
    let error = odd.media_host().open_audio_source(DEVICE, request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::Invalid);
}
