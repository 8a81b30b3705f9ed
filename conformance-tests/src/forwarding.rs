//! Wrappers of backends: every method that a wrapper does not implement is forwarded to the inner
//! backend.
//!
//! ```
//! use blink_api::macros::async_trait;
//! use blink_api::{Result, Session};
//! use blink_conformance::forwarding::ForwardingSession;
//!
//! struct LoggingSession(Box<dyn Session>);
//!
//! #[async_trait]
//! impl ForwardingSession for LoggingSession {
//!     fn behind(&self) -> &dyn Session {
//!         &*self.0
//!     }
//!
//!     async fn open_channel(&self, label: &str) -> Result<()> {
//!         println!("a channel: {label}");
//!         self.behind().open_channel(label).await
//!     }
//! }
//!
//! blink_conformance::forwards!(Session for LoggingSession);
//! # fn check(session: LoggingSession) -> Box<dyn Session> { Box::new(session) }
//! ```

use blink_api::macros::async_trait;
use blink_api::{
    Candidate, ChannelId, CodecName, DeliveryId, Mid, Result, RtpOut, Session, SessionStats, Signaling,
    SignalingCapabilities, SignalingEvent, Subscription, Topic, TrackId, TrackKind, Verdict,
};
use bytes::Bytes;
use tokio::sync::broadcast;

/// A session that wraps another one. Its methods are those of [`Session`], which
/// [`forwards!`](crate::forwards) implements from them.
#[async_trait]
#[allow(missing_docs, reason = "each is the method of `Session` of its name")]
pub trait ForwardingSession: Send + Sync {
    /// The wrapped session.
    fn behind(&self) -> &dyn Session;

    async fn create_offer(&self, ice_restart: bool) -> Result<String> {
        self.behind().create_offer(ice_restart).await
    }

    async fn accept_offer(&self, sdp: &str) -> Result<String> {
        self.behind().accept_offer(sdp).await
    }

    async fn accept_answer(&self, sdp: &str) -> Result<()> {
        self.behind().accept_answer(sdp).await
    }

    async fn add_candidate(&self, candidate: &Candidate) -> Result<()> {
        self.behind().add_candidate(candidate).await
    }

    async fn add_track(&self, kind: TrackKind) -> Result<TrackId> {
        self.behind().add_track(kind).await
    }

    async fn remove_track(&self, track: TrackId) -> Result<()> {
        self.behind().remove_track(track).await
    }

    fn mid(&self, track: TrackId) -> Option<Mid> {
        self.behind().mid(track)
    }

    fn codecs(&self, track: TrackId) -> Vec<CodecName> {
        self.behind().codecs(track)
    }

    fn send_rtp(&self, track: TrackId, packet: RtpOut) -> Result<()> {
        self.behind().send_rtp(track, packet)
    }

    fn request_keyframe(&self, mid: &Mid) -> Result<()> {
        self.behind().request_keyframe(mid)
    }

    async fn open_channel(&self, label: &str) -> Result<()> {
        self.behind().open_channel(label).await
    }

    fn send_data(&self, channel: ChannelId, message: Bytes) -> Result<()> {
        self.behind().send_data(channel, message)
    }

    async fn stats(&self) -> Result<SessionStats> {
        self.behind().stats().await
    }

    async fn close(&self) {
        self.behind().close().await;
    }
}

/// A signaling backend that wraps another one. Its methods are those of [`Signaling`], which
/// [`forwards!`](crate::forwards) implements from them.
#[async_trait]
#[allow(missing_docs, reason = "each is the method of `Signaling` of its name")]
pub trait ForwardingSignaling: Send + Sync {
    /// The wrapped backend.
    fn behind(&self) -> &dyn Signaling;

    fn capabilities(&self) -> SignalingCapabilities {
        self.behind().capabilities()
    }

    async fn subscribe(&self, topic: &Topic) -> Result<Subscription> {
        self.behind().subscribe(topic).await
    }

    async fn publish(&self, topic: &Topic, message: Bytes) -> Result<()> {
        self.behind().publish(topic, message).await
    }

    async fn subscribers(&self, topic: &Topic) -> Result<usize> {
        self.behind().subscribers(topic).await
    }

    fn report(&self, delivery: DeliveryId, verdict: Verdict) {
        self.behind().report(delivery, verdict);
    }

    async fn connect(&self, address: &str) -> Result<()> {
        self.behind().connect(address).await
    }

    async fn announce(&self, topic: &Topic) -> Result<()> {
        self.behind().announce(topic).await
    }

    async fn find(&self, topic: &Topic) -> Result<()> {
        self.behind().find(topic).await
    }

    async fn addresses(&self) -> Result<Vec<String>> {
        self.behind().addresses().await
    }

    fn events(&self) -> broadcast::Receiver<SignalingEvent> {
        self.behind().events()
    }

    async fn shutdown(&self) {
        self.behind().shutdown().await;
    }
}

/// Implements [`Session`](blink_api::Session) for a
/// [`ForwardingSession`](crate::forwarding::ForwardingSession), or
/// [`Signaling`](blink_api::Signaling) for a
/// [`ForwardingSignaling`](crate::forwarding::ForwardingSignaling).
#[macro_export]
macro_rules! forwards {
    (Session for $type:ty) => {
        $crate::forwards! { @impl Session as ForwardingSession for $type;
            later {
                create_offer(ice_restart: bool) -> ::blink_api::Result<String>;
                accept_offer(sdp: &str) -> ::blink_api::Result<String>;
                accept_answer(sdp: &str) -> ::blink_api::Result<()>;
                add_candidate(candidate: &::blink_api::Candidate) -> ::blink_api::Result<()>;
                add_track(kind: ::blink_api::TrackKind) -> ::blink_api::Result<::blink_api::TrackId>;
                remove_track(track: ::blink_api::TrackId) -> ::blink_api::Result<()>;
                open_channel(label: &str) -> ::blink_api::Result<()>;
                stats() -> ::blink_api::Result<::blink_api::SessionStats>;
                close() -> ();
            }
            at once {
                mid(track: ::blink_api::TrackId) -> Option<::blink_api::Mid>;
                codecs(track: ::blink_api::TrackId) -> Vec<::blink_api::CodecName>;
                send_rtp(track: ::blink_api::TrackId, packet: ::blink_api::RtpOut) -> ::blink_api::Result<()>;
                request_keyframe(mid: &::blink_api::Mid) -> ::blink_api::Result<()>;
                send_data(channel: ::blink_api::ChannelId, message: ::bytes::Bytes) -> ::blink_api::Result<()>;
            }
        }
    };
    (Signaling for $type:ty) => {
        $crate::forwards! { @impl Signaling as ForwardingSignaling for $type;
            later {
                subscribe(topic: &::blink_api::Topic) -> ::blink_api::Result<::blink_api::Subscription>;
                publish(topic: &::blink_api::Topic, message: ::bytes::Bytes) -> ::blink_api::Result<()>;
                subscribers(topic: &::blink_api::Topic) -> ::blink_api::Result<usize>;
                connect(address: &str) -> ::blink_api::Result<()>;
                announce(topic: &::blink_api::Topic) -> ::blink_api::Result<()>;
                find(topic: &::blink_api::Topic) -> ::blink_api::Result<()>;
                addresses() -> ::blink_api::Result<Vec<String>>;
                shutdown() -> ();
            }
            at once {
                capabilities() -> ::blink_api::SignalingCapabilities;
                report(delivery: ::blink_api::DeliveryId, verdict: ::blink_api::Verdict) -> ();
                events() -> ::tokio::sync::broadcast::Receiver<::blink_api::SignalingEvent>;
            }
        }
    };
    (@impl $trait:ident as $base:ident for $type:ty;
        later { $($later:ident($($a:ident: $A:ty),*) -> $L:ty;)* }
        at once { $($now:ident($($b:ident: $B:ty),*) -> $N:ty;)* }
    ) => {
        #[::blink_api::macros::async_trait]
        impl ::blink_api::$trait for $type {
            $(async fn $later(&self, $($a: $A),*) -> $L {
                $crate::forwarding::$base::$later(self, $($a),*).await
            })*
            $(fn $now(&self, $($b: $B),*) -> $N {
                $crate::forwarding::$base::$now(self, $($b),*)
            })*
        }
    };
}
