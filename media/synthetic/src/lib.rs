//! WAV files, tones and silence as media devices of the Blink call engine
