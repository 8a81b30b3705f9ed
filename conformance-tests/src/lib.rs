//! Conformance suite for backends of the Blink call engine
