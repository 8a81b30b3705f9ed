//! In-process signaling of the Blink call engine
