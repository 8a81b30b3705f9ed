//! Writer of log lines that redacts addresses and fingerprints.

use std::io::{self, Write};
use std::net::{IpAddr, SocketAddr};

use tracing::Metadata;
use tracing_subscriber::fmt::MakeWriter;

use super::may_show_addresses;

/// Replacement of an IP address or a host name.
const ADDRESS: &str = "[address]";
/// Replacement of a certificate's fingerprint.
const FINGERPRINT: &str = "[fingerprint]";
/// Prefixes of host names in multiaddresses.
const NAMED: [&str; 4] = ["/dns/", "/dns4/", "/dns6/", "/dnsaddr/"];
/// Minimum number of digit pairs of a fingerprint; fewer may be an address or a time.
const SHORTEST_FINGERPRINT: usize = 16;

/// Factory of writers that redact addresses, unless they are requested and the level allows them.
pub(super) struct RedactingWriter<W> {
    inner: W,
    addresses: bool,
}

impl<W> RedactingWriter<W> {
    pub(super) fn new(inner: W, addresses: bool) -> Self {
        Self { inner, addresses }
    }
}

impl<'a, W: MakeWriter<'a>> MakeWriter<'a> for RedactingWriter<W> {
    type Writer = RedactedLines<W::Writer>;

    fn make_writer(&'a self) -> Self::Writer {
        RedactedLines { inner: self.inner.make_writer(), addresses: false }
    }

    fn make_writer_for(&'a self, metadata: &Metadata<'_>) -> Self::Writer {
        let addresses = self.addresses && may_show_addresses(*metadata.level());
        RedactedLines { inner: self.inner.make_writer_for(metadata), addresses }
    }
}

/// Writer of whole lines, as the formatter produces them.
pub(super) struct RedactedLines<W> {
    inner: W,
    addresses: bool,
}

impl<W: Write> Write for RedactedLines<W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = without_fingerprints_and(&text, self.addresses);
        self.inner.write_all(text.as_bytes())?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

/// Redacts fingerprints, and unless `addresses` is set also addresses: IPv4 and IPv6, with ports,
/// and names in multiaddresses.
fn without_fingerprints_and(line: &str, addresses: bool) -> String {
    let is_part = |c: char| c.is_ascii_hexdigit() || matches!(c, ':' | '.');
    let in_word = |c: char| c.is_alphanumeric() || c == '_';
    let mut written = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(start) = rest.find(is_part) {
        let (before, from) = rest.split_at(start);
        let (run, after) = from.split_at(from.find(|c| !is_part(c)).unwrap_or(from.len()));
        written.push_str(before);
        let begins_in_word = written.ends_with(in_word);
        let ends_in_word = after.starts_with(in_word);
        match find_hidden(run, begins_in_word, ends_in_word).filter(|found| !(addresses && found.is_address())) {
            Some(found) => {
                written.push_str(&run[..found.start]);
                written.push_str(found.word);
                written.push_str(&run[found.start + found.length..]);
            }
            None => written.push_str(run),
        }
        rest = after;
    }
    written.push_str(rest);
    if addresses { written } else { without_names(written) }
}

struct Found {
    start: usize,
    length: usize,
    word: &'static str,
}

impl Found {
    fn is_address(&self) -> bool {
        self.word == ADDRESS
    }
}

/// Finds a value to redact in a run of hexadecimal digits, colons and dots; punctuation at its ends
/// may belong to the sentence.
fn find_hidden(run: &str, begins_in_word: bool, ends_in_word: bool) -> Option<Found> {
    let punctuation = [':', '.'];
    let (from, to) = (run.len() - run.trim_start_matches(punctuation).len(), run.trim_end_matches(punctuation).len());
    let ends = [(0, run.len()), (0, to), (from, run.len()), (from, to)];
    let fits = |(start, end): &(usize, usize)| {
        start < end && !(*start == 0 && begins_in_word) && !(*end == run.len() && ends_in_word)
    };
    ends.into_iter().filter(fits).find_map(|(start, end)| {
        let text = &run[start..end];
        let word = if is_fingerprint(text) {
            FINGERPRINT
        } else if is_address(text) {
            ADDRESS
        } else {
            return None;
        };
        Some(Found { start, length: end - start, word })
    })
}

/// Whether a text is an address; the unspecified ones, `::` and `0.0.0.0`, are not.
fn is_address(text: &str) -> bool {
    let address = text.parse::<IpAddr>().ok().or_else(|| text.parse::<SocketAddr>().ok().map(|socket| socket.ip()));
    address.is_some_and(|address| !address.is_unspecified())
}

/// Whether a text is a certificate hash in SDP format (RFC 8122 §5).
fn is_fingerprint(text: &str) -> bool {
    let pairs = text.split(':');
    pairs.clone().count() >= SHORTEST_FINGERPRINT && pairs.into_iter().all(|pair| pair.len() == 2)
}

fn without_names(mut line: String) -> String {
    for before in NAMED {
        let mut at = 0;
        while let Some(found) = line[at..].find(before) {
            let start = at + found + before.len();
            let end = line[start..].find(|c: char| c == '/' || c.is_whitespace()).map_or(line.len(), |end| start + end);
            line.replace_range(start..end, ADDRESS);
            at = start + ADDRESS.len();
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_redacted_anywhere() {
        for (line, shown) in [
            ("address=10.0.0.1", "address=[address]"),
            ("at 10.0.0.1.", "at [address]."),
            ("10.0.0.1:5000: refused", "[address]: refused"),
            ("ip:10.0.0.1,", "ip:[address],"),
            ("(192.168.1.20)", "([address])"),
            ("/ip4/127.0.0.1/tcp/4001", "/ip4/[address]/tcp/4001"),
            ("/ip6/fe80::1/udp/1/quic-v1", "/ip6/[address]/udp/1/quic-v1"),
            ("[2001:db8::7]:443", "[[address]]:443"),
            ("::ffff:10.0.0.1", "[address]"),
            ("fe80::1%eth0", "[address]%eth0"),
            ("fe80::", "[address]"),
            ("\u{1b}[3maddress\u{1b}[0m=10.0.0.1", "\u{1b}[3maddress\u{1b}[0m=[address]"),
            ("/dns4/blink.example/tcp/1", "/dns4/[address]/tcp/1"),
            ("/dnsaddr/blink.example", "/dnsaddr/[address]"),
            (
                "candidate:1 1 udp 1 192.0.2.1 9 typ host raddr 192.0.2.2",
                "candidate:1 1 udp 1 [address] 9 typ host raddr [address]",
            ),
        ] {
            assert_eq!(without_fingerprints_and(line, false), shown);
            assert_eq!(without_fingerprints_and(line, true), line);
        }
    }

    #[test]
    fn fingerprints_are_always_redacted() {
        let pairs = vec!["A0"; 32].join(":");
        for addresses in [false, true] {
            assert_eq!(without_fingerprints_and(&format!("sha-256 {pairs} x"), addresses), "sha-256 [fingerprint] x");
        }
    }

    #[test]
    fn other_text_is_unchanged() {
        for line in [
            "2026-01-02T10:59:27.123456Z TRACE blink_engine::driver::driver_loop: a message came kind=Offer",
            "face::decade added: bad::cafe_ x",
            "version 1.2.3, 3.14, 0.55.0.1.2, 1:2:3, 12:30:00",
            "engine{did=did:key:z6MkfriZ}:session{id=1 call=0011aabbccdd}: [::]:0 and 0.0.0.0:0",
            "Foo::<u8>, ::, :",
            "héllo 10.0.0.1é",
            "",
        ] {
            assert_eq!(without_fingerprints_and(line, false), line);
        }
    }
}
