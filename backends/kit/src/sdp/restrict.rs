//! Restriction of remote descriptions, for stacks that would accept more than wanted.

use blink_api::Mid;

use super::{Description, Direction, Section};

/// Rewrites a description as if its author had ended the sections rejected here, for stacks that
/// would accept or fail on them.
pub fn apply_rejections(sdp: &str, description: &Description) -> String {
    let refused = |mid: &str| description.sections.iter().any(|other| other.is_rejected && other.mid.as_str() == mid);
    let mut text = String::with_capacity(sdp.len());
    let mut sections = description.sections.iter();
    let mut current: Option<&Section> = None;
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            current = sections.next();
        }
        let is_refused = current.is_some_and(|section| section.is_rejected);
        match line.split_once(' ') {
            _ if is_refused && Direction::parse(line).is_some() => continue,
            Some((group @ "a=group:BUNDLE", mids)) => {
                let mids = mids.split_whitespace().filter(|mid| !refused(mid));
                text.extend([group].into_iter().chain(mids.flat_map(|mid| [" ", mid])));
            }
            _ if is_refused && line.starts_with("m=") => {
                // Split like the parser, at any white space.
                let mut fields = line["m=".len()..].split_whitespace();
                text.extend(["m=", fields.next().unwrap_or_default(), " 0"]);
                fields.skip(1).for_each(|field| text.extend([" ", field]));
            }
            _ if is_refused && line.starts_with("a=mid:") => text.extend([line, "\r\na=inactive"]),
            _ => text.push_str(line),
        }
        text.push_str("\r\n");
    }
    text
}

/// Rewrites a description as if its author did not want to receive on the media sections for which
/// `sends` is false. For stacks that answer every `sendrecv` with `sendrecv` although nothing is
/// sent.
pub fn mask_receiving(sdp: &str, description: &Description, sends: impl Fn(&Mid) -> bool) -> String {
    let mut text = String::with_capacity(sdp.len() + 64);
    let mut sections = description.sections.iter();
    let mut current: Option<&Section> = None;
    for line in sdp.lines().map(str::trim_end) {
        if line.starts_with("m=") {
            current = sections.next();
        }
        let narrowed = current
            .filter(|section| section.kind.is_some() && !sends(&section.mid))
            .map(|section| Direction { receives: false, ..section.direction });
        match narrowed {
            Some(_) if Direction::parse(line).is_some() => continue,
            Some(direction) if line.starts_with("a=mid:") => {
                text.push_str(direction.line());
                text.push_str("\r\n");
            }
            _ => {}
        }
        text.push_str(line);
        text.push_str("\r\n");
    }
    text
}
