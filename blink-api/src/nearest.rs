//! Names that a misspelt one may mean.

/// A question whether the nearest known name was meant, to be appended to an error; empty where
/// no name is near.
pub(crate) fn did_you_mean<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    // Letters that may differ: a third of a name, and of a short one a single one.
    let most = (wrong.chars().count() / 3).clamp(1, 3);
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    // A name of which the end is missing is as near as one of which a letter is.
    let begins = |name: &str| wrong.len() >= 3 && name.to_lowercase().starts_with(&wrong.to_lowercase());
    let distance = |name: &str| if begins(name) { distance(name).min(1) } else { distance(name) };
    let nearest = known.into_iter().map(|name| (distance(name), name)).min();
    match nearest.filter(|(distance, _)| *distance <= most) {
        Some((_, name)) => format!("; did you mean `{name}`?"),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_suggested_and_far_ones_are_not() {
        let known = ["str0m", "webrtc-rs", "memory"];
        for (wrong, meant) in
            [("strom", "str0m"), ("webrtc_rs", "webrtc-rs"), ("Memroy", "memory"), ("WebRTC", "webrtc-rs")]
        {
            assert_eq!(did_you_mean(wrong, known), format!("; did you mean `{meant}`?"));
        }
        for wrong in ["", "x", "quic", "libp2p"] {
            assert_eq!(did_you_mean(wrong, known), "");
        }
    }
}
