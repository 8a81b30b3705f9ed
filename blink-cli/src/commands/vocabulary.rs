//! Words of typed commands.

use super::Command;

/// A command as it is typed.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Word {
    /// Name, as in JSON.
    pub(crate) name: &'static str,
    /// Other words for it.
    pub(crate) others: &'static [&'static str],
    /// Arguments.
    pub(crate) arguments: &'static str,
    /// Summary of its effect.
    pub(crate) summary: &'static str,
    parse: fn(&str) -> Option<Command>,
}

const fn word(
    name: &'static str,
    others: &'static [&'static str],
    arguments: &'static str,
    summary: &'static str,
    parse: fn(&str) -> Option<Command>,
) -> Word {
    Word { name, others, arguments, summary, parse }
}

/// All words, in the order of the help.
pub(crate) const VOCABULARY: [Word; 28] = [
    word("call", &["dial"], "NAME|INVITE|DID[@ADDRESS] …", "call people", |text| {
        people(text).map(|people| Command::Call { people })
    }),
    word("answer", &["y", "yes", "accept"], "", "answer the call that rings", |text| {
        none(text, Command::Answer { call: None })
    }),
    word("reject", &["n", "no"], "", "reject the call that rings", |text| none(text, Command::Reject { call: None })),
    word("join", &["j"], "[N]", "join the call that was left, or list ongoing calls", |text| {
        Some(Command::Join { call: some(text) })
    }),
    word("leave", &["h", "hangup", "hang up", "l"], "", "leave the call", |text| {
        none(text, Command::Leave { call: None })
    }),
    word("hold", &[], "", "hold the call: nothing is sent or played", |text| none(text, Command::Hold {})),
    word("resume", &["swap", "k"], "[N]", "return to the call on hold, or list them", |text| {
        Some(Command::Resume { call: some(text) })
    }),
    word("mute", &["m"], "", "mute the microphone", |text| none(text, Command::Mute {})),
    word("unmute", &["u"], "", "unmute the microphone", |text| none(text, Command::Unmute {})),
    word("deafen", &[], "", "stop playing the others", |text| none(text, Command::Deafen {})),
    word("undeafen", &[], "", "play the others again", |text| none(text, Command::Undeafen {})),
    word("volume", &["gain", "v"], "NAME|DID 50%", "set the volume of a participant, 0 to 400 %", volume),
    word("message", &["msg", "say"], "TEXT", "send a message to all in the call", |text| {
        some(text).map(|message| Command::Message { message, who: None })
    }),
    word("add", &["a", "invite"], "NAME|INVITE|DID[@ADDRESS] …", "add people to the call", |text| {
        people(text).map(|people| Command::Add { people })
    }),
    word("remove", &[], "NAME|DID", "remove a person from the call", |text| {
        some(text).map(|who| Command::Remove { who })
    }),
    word("devices", &["d"], "", "list the devices", |text| none(text, Command::Devices {})),
    word("microphone", &["mic"], "NAME", "choose the microphone", |text| {
        some(text).map(|name| Command::Microphone { name })
    }),
    word("speaker", &["spk"], "NAME", "choose the speaker", |text| some(text).map(|name| Command::Speaker { name })),
    word("record", &["r"], "[RECORDER …]", "record the call", |text| {
        let names = text.split([',', ' ']).filter(|name| !name.is_empty()).map(str::to_owned);
        Some(Command::Record { recorders: names.collect(), directory: None })
    }),
    word("stop-recording", &["stop"], "", "stop recording", |text| none(text, Command::StopRecording {})),
    word("offer-stream", &["offer"], "SOURCE [NAME]", "offer a stream, such as clip:vp8", offer),
    word("revoke-stream", &["revoke"], "[STREAM]", "withdraw an offered stream", |text| {
        Some(Command::RevokeStream { stream: some(text) })
    }),
    word("settings", &[], "", "show every configuration key", |text| none(text, Command::Settings {})),
    word("state", &["s"], "", "show calls, participants and this device", |text| none(text, Command::State {})),
    word("statistics", &["stats"], "", "show the quality of each path", |text| none(text, Command::Statistics {})),
    word("history", &[], "", "show past calls", |text| none(text, Command::History {})),
    word("reload-contacts", &[], "", "read the contacts again", |text| none(text, Command::ReloadContacts {})),
    word("help", &["?"], "", "list the commands", |text| none(text, Command::Help {})),
];

/// Reads a typed line. Commands may be in capitals; names keep their case.
///
/// # Errors
/// The reason, with what was expected.
pub(super) fn parse(line: &str) -> Result<Command, String> {
    let lower = line.to_lowercase();
    if lower == "hang up" {
        return Ok(Command::Leave { call: None });
    }
    let (typed, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let name = typed.to_lowercase();
    let word = VOCABULARY.iter().find(|word| word.name == name || word.others.contains(&name.as_str()));
    let Some(word) = word else { return Err(unknown(&name.chars().take(32).collect::<String>())) };
    (word.parse)(rest.trim()).ok_or_else(|| format!("expected: {} {}", word.name, word.arguments).trim().to_owned())
}

fn unknown(name: &str) -> String {
    let near = VOCABULARY.iter().map(|word| (strsim::damerau_levenshtein(word.name, name), word.name)).min();
    let near = near.filter(|(distance, _)| *distance <= 2).map(|(_, near)| format!("; did you mean {near}?"));
    format!("there is no command `{name}`{}: help lists the commands", near.unwrap_or_default())
}

fn none(text: &str, command: Command) -> Option<Command> {
    text.is_empty().then_some(command)
}

fn some(text: &str) -> Option<String> {
    (!text.is_empty()).then(|| text.to_owned())
}

/// Words, where a name with spaces is quoted.
fn people(text: &str) -> Option<Vec<String>> {
    let mut people = Vec::new();
    // Odd parts are inside quotation marks.
    for (n, part) in text.split('"').enumerate() {
        match n % 2 {
            0 => people.extend(part.split_whitespace().map(str::to_owned)),
            _ => people.push(part.to_owned()),
        }
    }
    (!people.is_empty()).then_some(people)
}

fn volume(text: &str) -> Option<Command> {
    let (who, volume) = text.rsplit_once(char::is_whitespace)?;
    let volume: f32 = match volume.strip_suffix('%') {
        Some(percent) => percent.trim().parse::<f32>().ok()? / 100.0,
        None => volume.parse().ok()?,
    };
    let who = who.trim().trim_matches('"');
    (volume.is_finite() && !who.is_empty()).then(|| Command::Volume { who: who.to_owned(), volume })
}

fn offer(text: &str) -> Option<Command> {
    let (source, name) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    some(source).map(|source| Command::OfferStream { source, name: some(name.trim()) })
}
