//! Faults that a lab can have, so that every scenario can be seen to fail.

use blink_engine::Event;
use blink_proto::wire::Kind;

/// One thing that is broken in a lab: an engine that lies, or a backend that does what a broken one
/// would do.
#[derive(Debug, Clone, Copy)]
pub enum Fault {
    /// Engines tell something else than what happened.
    Tells(fn(&Event) -> Telling),
    /// Engines say that they did this, and did not.
    Neglects(Deed),
    /// No command fails: engines say yes to everything.
    SaysYes,
    /// Answering a call unmutes, since the microphone is opened anew.
    UnmutesOnAnswer,
    /// Answering a call rejects all others that ring.
    RejectsOthersOnAnswer,
    /// Muting and deafening are announced to others, and nothing else.
    MutesForShow,
    /// Whoever rejected a call cannot join it any more.
    RejectsForGood,
    /// Where one of many leaves, the call rings no more.
    OneLeaverIsAll,
    /// The volume of one participant is set for all.
    TurnsEverybody,
    /// Settings that are not the default have no effect.
    ForgetsSettings,
    /// A message that came before, or that somebody forged, ends the call: as without a replay
    /// window, tags and signatures.
    BelievesEverything,
    /// Refused messages are not counted.
    CountsNothing,

    /// Signaling: messages of this kind to an inbox never arrive.
    Loses(Kind),
    /// Signaling: it is never told that somebody subscribed.
    NeverAnnouncesSubscribers,

    /// Signaling: whoever does not listen on a topic any more is still subscribed to it.
    NeverUnsubscribes,

    /// Transport: the participant of this number (in the order of appearance, from 0) gets no
    /// packets of media.
    NoMediaFor(usize),
    /// Transport: all paths share one queue, and where one of them is dead, nothing moves on any.
    OneQueueForAll,
    /// Transport: candidates that come before their description are forgotten.
    ForgetsEarlyCandidates,
    /// Transport: a path that can be used again is not noticed for 10 s.
    HealsLate,
    /// Transport: an ICE restart changes nothing.
    IgnoresRestarts,
    /// Transport: messages of data channels go the way of signaling, and get lost with it.
    ChannelsOverSignaling,
    /// Transport: sessions that are closed stay open.
    NeverCloses,
    /// Transport: no packet of video arrives.
    NoVideo,
    /// Transport: sound gets lost while video begins.
    VideoInterruptsSound,
    /// Transport: a session is opened, and gathers, as soon as somebody calls.
    GathersEarly,

    /// Media host: the microphone is open as soon as somebody calls.
    OpensMicrophoneEarly,
    /// Media host: where there is no microphone it gives silence.
    PretendsMicrophone,
}

/// What an engine that lies makes of an event.
#[derive(Debug, Clone, PartialEq)]
pub enum Telling {
    /// Tells it.
    Truth,
    /// Keeps it to itself.
    Nothing,
    /// Tells it twice.
    Twice,
    /// Tells it, and this.
    Also(Event),
}

impl Telling {
    /// The truth, but nothing of events of this name ([`Event::name`]).
    pub fn nothing_of(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Nothing } else { Self::Truth }
    }

    /// The truth, but events of this name twice.
    pub fn twice(event: &Event, name: &str) -> Self {
        if event.name() == name { Self::Twice } else { Self::Truth }
    }
}

/// What a user can ask of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Deed {
    /// To answer or join a call.
    Answer,
    /// To reject a call.
    Reject,
    /// To leave the call.
    Leave,
    /// To send no sound, or to send it again.
    Mute,
    /// To play no sound, or to play it again.
    Deafen,
    /// To invite somebody.
    Add,
    /// To remove somebody.
    Remove,
    /// To play somebody louder or less loud.
    SetVolume,
    /// To take a stream back.
    Revoke,
    /// To ask for a stream no more.
    Close,
}
