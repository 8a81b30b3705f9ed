//! Admission control as a behaviour of the swarm, for libp2p 0.57.

blink_signaling_kit::admission_behaviour!();
