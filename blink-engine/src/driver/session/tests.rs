//! Received packets wake no task: counted with a transport that delivers them by hand.

use std::pin::pin;
use std::sync::Mutex;
use std::sync::atomic::AtomicUsize;

use blink_api::{AudioSettings, CodecName, DeviceId, Did, Mid, RtpIn, RtpOut, RtpSink, RtpTime, TransportCapabilities};
use blink_media::CallAudio;
use blink_media_g711::{G711Codec, Law};
use bytes::Bytes;

use super::super::media_worker_command::MediaWorkerCommand;
use super::*;

/// A transport whose session does nothing, and whose packets and events come from the test.
#[derive(Default)]
struct ByHand(Mutex<Option<OpenedByHand>>);

/// Both ends of an opened session that the test holds.
type OpenedByHand = (Arc<dyn RtpSink>, mpsc::Sender<SessionEvent>);

#[blink_api::macros::async_trait]
impl Transport for ByHand {
    fn capabilities(&self) -> TransportCapabilities {
        TransportCapabilities::NONE
    }

    async fn open(&self, config: SessionConfig) -> Result<(Box<dyn Session>, SessionEvents)> {
        let (events, receiver) = mpsc::channel(8);
        *self.0.lock().unwrap() = Some((config.rtp, events));
        Ok((Box::new(Idle), receiver))
    }
}

struct Idle;

#[blink_api::macros::async_trait]
impl Session for Idle {
    async fn create_offer(&self, _: bool) -> Result<String> {
        Ok(String::new())
    }

    async fn accept_offer(&self, _: &str) -> Result<String> {
        Ok(String::new())
    }

    async fn accept_answer(&self, _: &str) -> Result<()> {
        Ok(())
    }

    async fn add_candidate(&self, _: &Candidate) -> Result<()> {
        Ok(())
    }

    async fn add_track(&self, _: TrackKind) -> Result<TrackId> {
        Ok(TrackId(1))
    }

    async fn remove_track(&self, _: TrackId) -> Result<()> {
        Ok(())
    }

    fn mid(&self, _: TrackId) -> Option<Mid> {
        None
    }

    fn codecs(&self, _: TrackId) -> Vec<CodecName> {
        Vec::new()
    }

    fn send_rtp(&self, _: TrackId, _: RtpOut) -> Result<()> {
        Ok(())
    }

    fn request_keyframe(&self, _: &Mid) -> Result<()> {
        Ok(())
    }

    async fn open_channel(&self, _: &str) -> Result<()> {
        Ok(())
    }

    fn send_data(&self, _: ChannelId, _: Bytes) -> Result<()> {
        Ok(())
    }

    async fn stats(&self) -> Result<SessionStats> {
        Ok(SessionStats::default())
    }

    async fn close(&self) {}
}

/// Tokio's clock, which the test pauses.
struct PausedClock;

impl Clock for PausedClock {
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn unix_ms(&self) -> u64 {
        0
    }
}

fn packet(sequence: u16) -> RtpIn {
    RtpIn {
        mid: Mid::new("0"),
        payload_type: 0,
        codec: CodecName::new("PCMU"),
        sequence,
        timestamp: RtpTime(u32::from(sequence) * 160),
        marker: false,
        level: None,
        payload: Bytes::from_static(&[0; 160]),
        arrival: PausedClock.now(),
    }
}

/// A session's task whose wake-ups are counted, and everything around it.
struct Counted {
    transport: Arc<ByHand>,
    wakeups: Arc<AtomicUsize>,
    reports: mpsc::Receiver<Report>,
    packets: mpsc::Receiver<(PathId, RtpIn)>,
    _commands: (mpsc::Sender<SessionCommand>, mpsc::Receiver<MediaWorkerCommand>),
}

impl Counted {
    async fn start() -> Self {
        let (transport, wakeups) = (Arc::new(ByHand::default()), Arc::new(AtomicUsize::new(0)));
        let (commands, queue) = mpsc::channel(8);
        let (media_commands, media_queue) = mpsc::channel(64);
        let (packet_sender, packets) = mpsc::channel(1_024);
        let (report_sender, reports) = mpsc::channel(1_024);
        let audio = CallAudio::new(vec![Arc::new(G711Codec::new(Law::Mu))], AudioSettings::default()).unwrap();
        let id = SessionId(1);
        let end = SessionEnd {
            id,
            call: CallId::from_bytes([3; 16]),
            remote: Endpoint { did: Did::from_public_key([1; 32]), device: DeviceId::from_random([2; 16]) },
            is_offerer: false,
            ice: IceConfig::default(),
        };
        let task = Task {
            end,
            transport: transport.clone(),
            clock: Arc::new(PausedClock),
            media: MediaHandle::to(media_commands, packet_sender, audio),
            own_commands: commands.downgrade(),
        };
        let counter = wakeups.clone();
        tokio::spawn(async move {
            let mut reporter = Reporter::new(id, report_sender, PausedClock.now());
            let mut task = pin!(task.run(queue, &mut reporter));
            std::future::poll_fn(|context| {
                counter.fetch_add(1, Ordering::Relaxed);
                task.as_mut().poll(context)
            })
            .await
            .unwrap();
        });
        while transport.0.lock().unwrap().is_none() {
            tokio::task::yield_now().await;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
        Self { transport, wakeups, reports, packets, _commands: (commands, media_queue) }
    }

    fn deliver(&self, sequence: u16) {
        let state = self.transport.0.lock().unwrap();
        state.as_ref().unwrap().0.deliver(packet(sequence));
    }

    fn wakeups(&self) -> usize {
        self.wakeups.load(Ordering::Relaxed)
    }
}

#[tokio::test(start_paused = true)]
async fn five_hundred_packets_wake_the_session_once_a_second_and_the_driver_four_times() {
    let mut counted = Counted::start().await;
    // The counter counts: an event wakes the task.
    let before = counted.wakeups();
    let events = counted.transport.0.lock().unwrap().as_ref().unwrap().1.clone();
    events.send(SessionEvent::Connected).await.unwrap();
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(counted.wakeups() > before);
    assert!(matches!(counted.reports.try_recv(), Ok(Report::Session(_, SessionInput::Connected))));

    let before = counted.wakeups();
    for sequence in 0..500 {
        counted.deliver(sequence);
        // A task that was woken runs here.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    // Metrics are sampled once a second.
    let woken = counted.wakeups() - before;
    assert!(woken <= 10, "{woken} wake-ups of the session's task in 10 s");
    let received = std::iter::from_fn(|| counted.packets.try_recv().ok());
    assert_eq!(received.filter(|(path, _)| *path == PathId(1)).count(), 500);
    let reports: Vec<_> = std::iter::from_fn(|| counted.reports.try_recv().ok()).collect();
    assert!(reports.iter().all(|report| matches!(report, Report::Session(SessionId(1), SessionInput::Traffic))));
    assert!((35..=41).contains(&reports.len()), "{} reports to the driver in 10 s", reports.len());
}

#[tokio::test(start_paused = true)]
async fn after_a_silence_traffic_is_reported_at_once_and_also_after_a_full_queue() {
    let mut counted = Counted::start().await;
    for (sequence, silence) in [(0, 10), (1, 300), (2, 10), (3, 5_000), (4, 249)] {
        tokio::time::sleep(Duration::from_millis(silence)).await;
        counted.deliver(sequence);
        let is_reported = counted.reports.try_recv().is_ok();
        assert_eq!(is_reported, silence > 249 || sequence == 0, "packet {sequence} after {silence} ms");
    }
}
