//! WebRTC transport of the Blink call engine on webrtc-rs
