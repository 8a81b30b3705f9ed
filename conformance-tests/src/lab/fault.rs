//! Faults that are injected into a lab, to show that every scenario can fail.

use blink_engine::Event;
use blink_proto::wire::Kind;

/// One injected fault: an engine that reports wrong events, or a backend that misbehaves.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Engines drop, repeat or add events.
    MutatesEvents(fn(&Event) -> EventMutation),
    /// Engines report success for this command without executing it.
    IgnoresCommand(Command),
    /// Engines report success for every command.
    NeverReportsErrors,
    /// Answering a call unmutes, because the microphone is opened again.
    UnmutesOnAnswer,
    /// Answering a call rejects all other ringing calls.
    RejectsOthersOnAnswer,
    /// Mute, deafen and hold are announced to others, but have no effect.
    OnlyAnnouncesMute,
    /// A participant that rejected a call can never join it.
    RejectIsPermanent,
    /// A group call stops ringing as soon as one participant leaves.
    LeaveEndsGroupCall,
    /// Setting the volume of one participant sets that of all.
    SetsVolumeOfAll,
    /// Settings other than the defaults are ignored.
    IgnoresSettings,
    /// A replayed or forged message ends the call, as without replay windows, tags and signatures.
    AcceptsForgedMessages,
    /// Rejected messages are not counted.
    NeverCountsRejections,

    /// Signaling: messages of this kind to an inbox are dropped.
    DropsInboxMessages(Kind),
    /// Signaling: `SubscriberJoined` is never reported.
    NeverAnnouncesSubscribers,

    /// Signaling: dropping a subscription does not unsubscribe.
    NeverUnsubscribes,

    /// Transport: the participant with this number (in order of creation, from 0) receives no media
    /// packets.
    NoMediaFor(usize),
    /// Transport: all paths share one queue, so that one dead path blocks all.
    SharesPacketQueue,
    /// Transport: candidates that arrive before their description are dropped.
    DropsEarlyCandidates,
    /// Transport: a restored path is detected 10 s late.
    ReconnectsLate,
    /// Transport: an ICE restart has no effect.
    IgnoresIceRestarts,
    /// Transport: data channel messages take the signaling path, and are lost with it.
    SendsDataOverSignaling,
    /// Transport: closed sessions stay open.
    NeverCloses,
    /// Transport: video packets are dropped.
    DropsVideo,
    /// Transport: audio packets are lost when video starts.
    VideoInterruptsAudio,
    /// Transport: every second media packet is dropped.
    DropsEverySecondPacket,
    /// Transport: packets stay delayed after the network was impaired or stalled.
    KeepsDelay,
    /// Transport: a session is opened, and gathers candidates, before the call is answered.
    GathersEarly,

    /// Recorder: tracks of others are 50 ms late.
    RecordsLate,
    /// Recorder: the files are written at the end only.
    RecordsAtTheEnd,

    /// Media host: the microphone is opened before the call is answered.
    OpensMicrophoneEarly,
    /// Media host: an unplugged device goes on, and stays in the list.
    LosesDevicesSilently,
    /// Media host: a missing microphone is replaced by silence.
    FakesMicrophone,
}

/// Change that a fault makes to an event.
#[derive(Debug, Clone, PartialEq)]
pub enum EventMutation {
    /// Reports the event unchanged.
    Unchanged,
    /// Drops the event.
    Drop,
    /// Reports the event duplicate.
    Duplicate,
    /// Reports the event, followed by another one.
    Append(Event),
}

impl EventMutation {
    /// Drops events with this name ([`Event::name`]), and keeps all others.
    pub fn suppress(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Drop } else { Self::Unchanged }
    }

    /// Repeats events with this name, and keeps all others.
    pub fn duplicate(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Duplicate } else { Self::Unchanged }
    }
}

/// Command of a user to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Answer or join a call.
    Answer,
    /// Reject a call.
    Reject,
    /// Leave the call.
    Leave,
    /// Hold the call.
    Hold,
    /// Return to a held call.
    Resume,
    /// Mute or unmute the microphone.
    Mute,
    /// Deafen or undeafen.
    Deafen,
    /// Invite a participant.
    Add,
    /// Remove a participant.
    Remove,
    /// Set the playback volume of a participant.
    SetVolume,
    /// Revoke an offered stream.
    Revoke,
    /// Close a requested stream.
    Close,
    /// Record the call.
    Record,
}
