//! Names that people give themselves.

/// Characters of a display name.
pub const MAX_DISPLAY_NAME: usize = 64;
/// Combining marks on one character.
const MAX_MARKS: usize = 2;

/// The text as a name that can be shown: without characters that are invisible, change the
/// direction of other text, or control a terminal; with single spaces, at most two combining marks
/// on a character, and at most 64 characters. `None` where nothing is left.
///
/// A name proves nothing: any person can take any name, also with letters that look alike. Show it
/// beside the DID, and prefer the name that the user gave a contact.
///
/// The form of Unicode (NFC, NFD) is kept.
#[must_use]
pub fn display_name(text: &str) -> Option<String> {
    let mut name = String::new();
    let (mut length, mut marks, mut space) = (0, 0, false);
    for character in text.chars().take(8 * MAX_DISPLAY_NAME) {
        if character.is_whitespace() {
            space = length > 0;
            continue;
        }
        if is_unseen(character) {
            continue;
        }
        marks = if is_mark(character) { marks + 1 } else { 0 };
        if marks > MAX_MARKS || marks > 0 && length == 0 {
            continue;
        }
        if length + usize::from(space) >= MAX_DISPLAY_NAME {
            break;
        }
        if std::mem::take(&mut space) {
            name.push(' ');
            length += 1;
        }
        name.push(character);
        length += 1;
    }
    (!name.is_empty()).then_some(name)
}

/// Whether a character controls something, is invisible, or changes the direction of text
/// (`Default_Ignorable_Code_Point` and `Bidi_Control` of Unicode, controls, private use).
fn is_unseen(character: char) -> bool {
    character.is_control()
        || matches!(
            character,
            '\u{ad}'
                | '\u{34f}'
                | '\u{61c}'
                | '\u{115f}'..='\u{1160}'
                | '\u{17b4}'..='\u{17b5}'
                | '\u{180b}'..='\u{180f}'
                | '\u{200b}'..='\u{200f}'
                | '\u{2028}'..='\u{202e}'
                | '\u{2060}'..='\u{206f}'
                | '\u{2800}'
                | '\u{3164}'
                | '\u{e000}'..='\u{f8ff}'
                | '\u{fe00}'..='\u{fe0f}'
                | '\u{feff}'
                | '\u{ffa0}'
                | '\u{fff0}'..='\u{ffff}'
                | '\u{1bca0}'..='\u{1bca3}'
                | '\u{1d173}'..='\u{1d17a}'
                | '\u{e0000}'..='\u{10ffff}'
        )
}

/// Whether a character combines with the one before.
fn is_mark(character: char) -> bool {
    matches!(
        character,
        '\u{300}'..='\u{36f}' | '\u{483}'..='\u{489}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}'
            | '\u{20d0}'..='\u{20ff}' | '\u{fe20}'..='\u{fe2f}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_kept_and_hidden_characters_removed() {
        for (given, name) in [
            ("Ada", Some("Ada")),
            ("  Ada \t\n King ", Some("Ada King")),
            ("Zoë Müller-Łukasz 王小明 علي 😀", Some("Zoë Müller-Łukasz 王小明 علي 😀")),
            ("A\u{202e}d\u{200b}a\u{1b}[31m", Some("Ada[31m")),
            ("\u{feff}\u{2066}\u{ad}\u{3164}\u{e0041}", None),
            ("", None),
            (" \u{a0}\u{2003} ", None),
            ("\u{301}a", Some("a")),
            ("a\u{301}\u{302}\u{303}\u{304}b", Some("a\u{301}\u{302}b")),
            ("did:key:z6Mk\u{2028}x", Some("did:key:z6Mk x")),
        ] {
            assert_eq!(display_name(given).as_deref(), name, "{given:?}");
        }
    }

    #[test]
    fn every_name_is_short_and_stays_as_it_is_when_it_is_cleaned_again() {
        let hostile = "x\u{301}\u{301}\u{301} ".repeat(10_000);
        let spaces = format!("{} b", "a".repeat(63));
        for text in [&*"ä ".repeat(100), &*"\u{200b}".repeat(10_000), &hostile, &spaces, &"𝔘".repeat(65)] {
            let Some(name) = display_name(text) else { continue };
            assert!(name.chars().count() <= MAX_DISPLAY_NAME && name.trim() == name, "{name:?}");
            assert_eq!(display_name(&name).as_deref(), Some(&*name));
        }
        assert_eq!(display_name(&"𝔘".repeat(65)).map(|name| name.chars().count()), Some(64));
        // All characters, one by one.
        for character in ('\0'..=char::MAX).step_by(7) {
            if let Some(name) = display_name(&format!("a{character}b")) {
                assert!(name.chars().all(|c| c == ' ' || !c.is_whitespace() && !c.is_control()));
                assert_eq!(display_name(&name), Some(name));
            }
        }
    }
}
