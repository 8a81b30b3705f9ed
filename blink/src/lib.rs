#![doc = include_str!("../README.md")]

mod builder;
mod features;

pub use blink_api as api;
pub use blink_api::{
    AudioFormat, CallId, CallTime, Configuration, DeviceId, Did, Endpoint, Error, ErrorKind, Registry, Result, RtpTime,
    StreamId, TrackKey, TrackKind, TrackSource,
};
pub use blink_engine::*;
pub use builder::{Builder, builder};

/// Names for a program that calls: `use blink::prelude::*;`.
pub mod prelude {
    pub use crate::{
        Blink, Call, CallConfig, CallId, Did, EndReason, Endpoint, Error, ErrorKind, Event, EventItem, Microphone,
        RecordingRequest, Result, TrackKey, builder,
    };
}
