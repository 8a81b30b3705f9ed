//! The contract between the Blink call engine and its backends.
//!
//! A backend depends on this crate only:
//!
//! | to provide | implement | and register a |
//! |---|---|---|
//! | a media path between two devices | [`Transport`], [`Session`] | [`Plugin<dyn Transport>`](Plugin) |
//! | delivery of small messages before a media path exists | [`Signaling`] | `Plugin<dyn Signaling>` |
//! | microphones, speakers, cameras, files | [`MediaHost`], [`AudioSource`], [`AudioSink`], [`VideoSource`] | `Plugin<dyn MediaHost>` |
//! | an audio codec | [`AudioCodec`], [`AudioEncoder`], [`AudioDecoder`] | `Plugin<dyn AudioCodec>` |
//! | a video codec | [`VideoCodec`], [`VideoEncoder`], [`VideoDecoder`] | `Plugin<dyn VideoCodec>` |
//! | the RTP payload format of a video codec | [`PayloadFormat`], [`FramePacketizer`] | `Plugin<dyn PayloadFormat>` |
//! | echo cancellation, noise suppression, gain | [`AudioProcessor`] | `Plugin<dyn AudioProcessorFactory>` |
//! | a file format for recordings | [`Recorder`], [`Recording`] | `Plugin<dyn Recorder>` |
//!
//! A backend's crate submits one [`Entry`] per implementation. A program that links the crate
//! (`use blink_transport_x as _;`) finds the entry in [`Registry::discovered`], and a user chooses
//! it by name in a [`Configuration`].
//!
//! # Rules that hold for every trait
//!
//! * Control is asynchronous and may be called from any task; media is synchronous and never
//!   blocks.
//! * Nothing here spawns a task or reads a clock. A backend that needs time takes it from
//!   [`Context::clock`].
//! * Input from a peer, a file, a device or a user never causes a panic. Unusable input is an
//!   [`Error`], which says whether a retry can succeed.
//! * Queues are bounded. The documentation of each says what happens when it is full.
//! * A backend declares in its capabilities what it supports. Every other method fails with
//!   [`ErrorKind::Unsupported`].

#![deny(missing_docs)]

mod audio_codec;
mod audio_io;
mod config;
mod display_name;
mod error;
mod ids;
mod media;
mod nearest;
mod path_failure;
mod payload_format;
pub mod private;
mod processor;
mod quality_reason;
mod recorder;
mod recording_report;
mod registry;
mod rtp;
mod session_config;
mod session_stats;
mod signaling;
mod signaling_capabilities;
mod transport;
mod units;
mod video;

pub use audio_codec::{
    AudioCodec, AudioCodecCapabilities, AudioDecoder, AudioDecoderConfig, AudioEncoder, AudioEncoderConfig,
    DecoderInput, EncoderHint,
};
pub use audio_io::{AudioFormat, AudioSink, AudioSource, OpenRequest, ReadResult};
pub use config::{
    AudioSettings, BusyPolicy, CallSettings, CallTimers, Configuration, ConfigurationBuilder, ConfigurationFile,
    EffectiveValue, HostCandidates, IceConfig, IceServer, Invitations, LogSettings, MetricsSettings, Preference,
    QualitySettings, RecordingSettings, ServerScheme, ServerUri, Settings, UiSettings, expand_path, optional_path,
    parse_value,
};
pub use display_name::{MAX_DISPLAY_NAME, display_name};
pub use error::{Error, ErrorKind, Result};
/// Value of a key of a [`Configuration`].
pub use figment::value::Value as ConfigurationValue;
pub use ids::{CallId, DeviceId, Did, Endpoint, RecordingId, StreamId, TrackKey, TrackSource};
pub use media::{DeviceChange, DeviceDirection, DeviceInfo, MediaCapabilities, MediaHost, TrackKind};
pub use path_failure::{DtlsState, FailureReason, FailureSide, IceState, PathFailure, RejectReason, TransportState};
pub use payload_format::{FrameFragment, FramePacketizer, PayloadFormat, PayloadFormatCapabilities};
pub use processor::{AudioProcessor, AudioProcessorFactory, ProcessorCapabilities};
pub use quality_reason::QualityReason;
pub use recorder::{
    RecordedTrack, Recorder, RecorderCapabilities, Recording, RecordingConfig, RecordingSummary, RtpSample, Sample,
    TrackFormat, TrackSummary,
};
pub use recording_report::{RecorderReport, RecordingReport};
pub use registry::{BackendSummary, Context, Entry, Kind, Plugin, Registry, Shared};
pub use rtp::{CodecName, RtpCodec, RtpIn, RtpOut, RtpReceiver, RtpSink, rtp_queue};
pub use session_config::SessionConfig;
pub use session_stats::{MediaPath, SessionStats};
pub use signaling::{
    Delivery, DeliveryId, DeliveryQueue, Origin, Signaling, SignalingEvent, Subscription, SubscriptionEvent, Topic,
    Verdict, subscription,
};
pub use signaling_capabilities::SignalingCapabilities;
pub use transport::{
    Candidate, ChannelId, Mid, Session, SessionEvent, SessionEvents, TrackId, Transport, TransportCapabilities,
};
pub use units::{AudioLevel, CallTime, Clock, RtpTime, SystemClock};
pub use video::{
    EncodedVideoFrame, RawVideoFrame, VideoCodec, VideoCodecCapabilities, VideoDecoder, VideoEncoder,
    VideoEncoderConfig, VideoFormat, VideoFrame, VideoSink, VideoSource,
};

/// Macros for the crates of backends: `async_trait` for implementations of the asynchronous traits,
/// `submit` to register an [`Entry`].
pub mod macros {
    pub use async_trait::async_trait;
    pub use inventory::submit;
}
