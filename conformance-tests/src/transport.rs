//! What every transport must do, against any other.
