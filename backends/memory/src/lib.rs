//! In-process transport of the Blink call engine: no network, on the caller's clock
