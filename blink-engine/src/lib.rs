//! The Blink call engine: agreement, encryption and media of peer-to-peer group calls
