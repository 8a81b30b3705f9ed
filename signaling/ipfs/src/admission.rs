//! Admission control as a behaviour of the swarm, for libp2p 0.56, which rust-ipfs is built on.

blink_signaling_kit::admission_behaviour!();
