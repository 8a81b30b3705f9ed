//! The Opus codec of the Blink call engine
