//! Faults that are injected into a lab, to show that every scenario can fail.

use blink_engine::Event;
use blink_proto::wire::Kind;

/// One injected fault: an engine that reports wrong events, or a backend that misbehaves.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Engines drop, repeat or add events.
    Tells(fn(&Event) -> Telling),
    /// Engines report success for this command without executing it.
    Neglects(Deed),
    /// Engines report success for every command.
    SaysYes,
    /// Answering a call unmutes, because the microphone is opened again.
    UnmutesOnAnswer,
    /// Answering a call rejects all other ringing calls.
    RejectsOthersOnAnswer,
    /// Muting and deafening are announced to others, but have no effect.
    MutesForShow,
    /// A participant that rejected a call can never join it.
    RejectsForGood,
    /// A group call stops ringing as soon as one participant leaves.
    OneLeaverIsAll,
    /// Setting the volume of one participant sets that of all.
    TurnsEverybody,
    /// Settings other than the defaults are ignored.
    ForgetsSettings,
    /// A replayed or forged message ends the call, as without replay windows, tags and signatures.
    BelievesEverything,
    /// Rejected messages are not counted.
    CountsNothing,

    /// Signaling: messages of this kind to an inbox are dropped.
    Loses(Kind),
    /// Signaling: `SubscriberJoined` is never reported.
    NeverAnnouncesSubscribers,

    /// Signaling: dropping a subscription does not unsubscribe.
    NeverUnsubscribes,

    /// Transport: the participant with this number (in order of creation, from 0) receives no media
    /// packets.
    NoMediaFor(usize),
    /// Transport: all paths share one queue, so that one dead path blocks all.
    OneQueueForAll,
    /// Transport: candidates that arrive before their description are dropped.
    ForgetsEarlyCandidates,
    /// Transport: a restored path is detected 10 s late.
    HealsLate,
    /// Transport: an ICE restart has no effect.
    IgnoresRestarts,
    /// Transport: data channel messages take the signaling path, and are lost with it.
    ChannelsOverSignaling,
    /// Transport: closed sessions stay open.
    NeverCloses,
    /// Transport: video packets are dropped.
    NoVideo,
    /// Transport: audio packets are lost when video starts.
    VideoInterruptsSound,
    /// Transport: a session is opened, and gathers candidates, before the call is answered.
    GathersEarly,

    /// Media host: the microphone is opened before the call is answered.
    OpensMicrophoneEarly,
    /// Media host: a missing microphone is replaced by silence.
    PretendsMicrophone,
}

/// Change that a fault makes to an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Telling {
    /// Reports the event unchanged.
    Truth,
    /// Drops the event.
    Nothing,
    /// Reports the event twice.
    Twice,
    /// Reports the event, followed by another one.
    Also(Event),
}

impl Telling {
    /// Drops events with this name ([`Event::name`]), and keeps all others.
    pub fn nothing_of(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Nothing } else { Self::Truth }
    }

    /// Repeats events with this name, and keeps all others.
    pub fn twice(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Twice } else { Self::Truth }
    }
}

/// Command of a user to an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// Answer or join a call.
    Answer,
    /// Reject a call.
    Reject,
    /// Leave the call.
    Leave,
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
}
