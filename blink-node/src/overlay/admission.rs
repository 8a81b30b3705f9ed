//! Admission control as a behaviour of the swarm.

blink_signaling_kit::admission_behaviour!();
