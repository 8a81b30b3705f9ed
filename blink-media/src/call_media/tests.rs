//! Media of a call on virtual time, with devices and codecs of which everything is known.

mod far_end;
mod quality;
mod reading_ahead;
mod room;
mod routing;
mod schedules;
mod tapping;
mod video_tapping;
