//! What every signaling backend must do.
