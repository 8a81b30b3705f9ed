//! WebRTC transport of the Blink call engine on str0m
