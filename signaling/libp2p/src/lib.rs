//! Signaling of the Blink call engine over libp2p gossipsub
