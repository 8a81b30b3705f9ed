//! Inputs in a table, and outputs as text: `open 0:usb #1`, `use #1`, `close #1`, and reports.

mod random;

use web_time::Duration;

use blink_api::TrackKind;

use super::*;

/// A manager and the time, in milliseconds.
struct Table {
    manager: DeviceManager,
    start: Instant,
    now: u64,
    direction: DeviceDirection,
}

impl Table {
    fn new(direction: DeviceDirection) -> Self {
        let host = |name: &str, sources| HostEntry { name: name.to_owned(), sources, sinks: true };
        // The third host has no microphones.
        let manager = DeviceManager::new(vec![host("cpal", true), host("synthetic", true), host("null", false)]);
        Self { manager, start: Instant::now(), now: 0, direction }
    }

    fn at(&self) -> Instant {
        self.start + Duration::from_millis(self.now)
    }

    fn outputs(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.manager.poll()).map(|action| text(&action)).collect()
    }

    fn want(&mut self, name: &str) -> Vec<String> {
        self.manager.set_wanted(self.at(), self.direction, name);
        self.outputs()
    }

    fn opened(&mut self, id: u64) -> Vec<String> {
        self.manager.handle_opened(self.at(), OpenId(id));
        self.outputs()
    }

    fn failed(&mut self, id: u64, kind: ErrorKind) -> Vec<String> {
        self.manager.handle_open_failed(self.at(), OpenId(id), Error::new(kind, "it does not open"));
        self.outputs()
    }

    fn lost(&mut self, id: u64) -> Vec<String> {
        self.manager.handle_lost(self.at(), OpenId(id), None);
        self.outputs()
    }

    fn change(&mut self, host: usize, change: DeviceChange) -> Vec<String> {
        self.manager.handle_change(self.at(), host, change);
        self.outputs()
    }

    /// Lets time go by, and does what is due meanwhile.
    fn wait(&mut self, ms: u64) -> Vec<String> {
        let (until, mut outputs) = (self.now + ms, Vec::new());
        let end = self.start + Duration::from_millis(until);
        while let Some(due) = self.manager.deadline().filter(|due| *due <= end) {
            self.now = self.now.max((due - self.start).as_millis() as u64);
            self.manager.handle_timeout(due);
            outputs.extend(self.outputs());
        }
        self.now = until;
        outputs
    }

    fn info(&self, name: &str) -> DeviceInfo {
        DeviceInfo::new(name, name, self.direction, TrackKind::Audio)
    }
}

fn device(device: &HostDevice) -> String {
    format!("{}:{}", device.host, device.name)
}

fn text(action: &DeviceAction) -> String {
    match action {
        DeviceAction::Open { id, device: opened, .. } => format!("open {} #{}", device(opened), id.0),
        DeviceAction::Use { id, .. } => id.map_or("use none".to_owned(), |id| format!("use #{}", id.0)),
        DeviceAction::Close(id) => format!("close #{}", id.0),
        DeviceAction::Report(DeviceEvent::Lost { device: lost, .. }) => format!("lost {}", device(lost)),
        DeviceAction::Report(DeviceEvent::Changed { device: now, fallback, .. }) => {
            let now = now.as_ref().map_or("none".to_owned(), device);
            format!("{} {now}", if *fallback { "fallback" } else { "changed" })
        }
        DeviceAction::Report(DeviceEvent::Unavailable { error, .. }) => format!("unavailable {:?}", error.kind()),
    }
}

const BOTH: [DeviceDirection; 2] = [DeviceDirection::Source, DeviceDirection::Sink];

#[test]
fn none_opens_nothing_and_closes_what_is_open() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        assert!(table.want("none").is_empty() && table.wait(60_000).is_empty());
        table.want("usb");
        table.opened(1);
        assert_eq!(table.want("none"), ["use none", "close #1", "changed none"]);
        assert!(table.wait(60_000).is_empty());
        assert_eq!(table.manager.deadline(), None);
    }
}

#[test]
fn a_name_is_opened_by_the_first_host_that_knows_it() {
    let mut table = Table::new(DeviceDirection::Source);
    assert_eq!(table.want("wav:/tmp/a.wav"), ["open 0:wav:/tmp/a.wav #1"]);
    assert_eq!(table.failed(1, ErrorKind::NotFound), ["open 1:wav:/tmp/a.wav #2"]);
    assert_eq!(table.opened(2), ["use #2", "changed 1:wav:/tmp/a.wav"]);
    assert_eq!(table.manager.in_use(DeviceDirection::Source).unwrap().0, OpenId(2));
    assert_eq!(table.manager.in_use(DeviceDirection::Sink), None);
}

#[test]
fn a_host_is_named_before_a_slash() {
    for (name, expected) in [
        ("synthetic/tone:440", "open 1:tone:440 #1"),
        ("synthetic/default", "open 1:default #1"),
        ("synthetic/wav:/tmp/a.wav", "open 1:wav:/tmp/a.wav #1"),
        ("other/tone:440", "open 0:other/tone:440 #1"),
    ] {
        let mut table = Table::new(DeviceDirection::Source);
        assert_eq!(table.want(name), [expected]);
    }
    // A host without microphones is not asked for one.
    let mut table = Table::new(DeviceDirection::Source);
    assert_eq!(table.want("null/a"), ["open 0:null/a #1"]);
    let mut table = Table::new(DeviceDirection::Sink);
    assert_eq!(table.want("null/a"), ["open 2:a #1"]);
    assert_eq!(table.failed(1, ErrorKind::NotFound)[0], "unavailable NotFound", "no other host is asked");
}

#[test]
fn the_default_is_that_of_the_first_host_that_has_one() {
    for kind in [ErrorKind::NotFound, ErrorKind::Unsupported, ErrorKind::Busy, ErrorKind::Io] {
        let mut table = Table::new(DeviceDirection::Sink);
        assert_eq!(table.want("default"), ["open 0:default #1"]);
        assert_eq!(table.failed(1, kind), ["open 1:default #2"]);
        assert_eq!(table.opened(2), ["use #2", "changed 1:default"]);
    }
}

#[test]
fn without_a_device_it_is_told_once_and_tried_again_ever_more_rarely() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        table.want("cpal/default");
        assert_eq!(table.failed(1, ErrorKind::NotFound), ["unavailable NotFound"]);
        let mut waits = Vec::new();
        for id in 2..12 {
            let before = table.now;
            while table.outputs().is_empty() && table.wait(1).is_empty() {}
            waits.push(table.now - before);
            assert!(table.failed(id, ErrorKind::NotFound).is_empty());
        }
        assert_eq!(waits[..5], [500, 1_000, 2_000, 4_000, 8_000]);
        assert!(waits[5..].iter().all(|wait| *wait == 10_000), "{waits:?}");
    }
    let mut hostless = DeviceManager::new(Vec::new());
    hostless.set_wanted(Instant::now(), DeviceDirection::Sink, "default");
    assert_eq!(hostless.poll().as_ref().map(text), Some("unavailable NotFound".to_owned()));
}

#[test]
fn changing_devices_makes_no_gap() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        table.want("usb");
        table.opened(1);
        assert_eq!(table.want("other"), ["open 0:other #2"]);
        assert_eq!(table.opened(2), ["use #2", "close #1", "changed 0:other"]);
        // One that does not open leaves the old one in use.
        assert_eq!(table.want("cpal/broken"), ["open 0:broken #3"]);
        assert_eq!(table.failed(3, ErrorKind::Invalid), ["unavailable Invalid"]);
        assert_eq!(table.manager.in_use(direction).unwrap().0, OpenId(2));
        // What is in use already need not be opened.
        assert!(table.want("other").is_empty() && table.wait(60_000).is_empty());
    }
}

#[test]
fn the_error_is_that_of_the_host_that_knows_the_name() {
    let mut table = Table::new(DeviceDirection::Source);
    table.want("wav:broken.wav");
    assert_eq!(table.failed(1, ErrorKind::Invalid), ["unavailable Invalid"], "no other host is asked");
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("default");
    table.failed(1, ErrorKind::Busy);
    table.failed(2, ErrorKind::NotFound);
    assert_eq!(table.failed(3, ErrorKind::NotFound), ["unavailable Busy"]);
}

#[test]
fn the_default_stands_in_for_a_device_that_died_until_it_returns() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        table.want("cpal/usb");
        table.opened(1);
        table.wait(60_000);
        assert_eq!(table.lost(1), ["use none", "close #1", "lost 0:usb", "open 0:default #2"]);
        assert_eq!(table.opened(2), ["use #2", "fallback 0:default"]);
        // It is looked for meanwhile.
        assert_eq!(table.wait(500), ["open 0:usb #3"]);
        assert_eq!(table.failed(3, ErrorKind::NotFound), ["unavailable NotFound"]);
        table.wait(300);
        assert_eq!(table.change(0, DeviceChange::Added(table.info("usb"))), ["open 0:usb #4"]);
        assert_eq!(table.opened(4), ["use #4", "close #2", "changed 0:usb"]);
        assert!(table.wait(60_000).is_empty());
    }
}

#[test]
fn a_microphone_that_was_never_there_has_no_stand_in() {
    let mut table = Table::new(DeviceDirection::Source);
    table.want("synthetic/wav:typo.wav");
    assert_eq!(table.failed(1, ErrorKind::NotFound), ["unavailable NotFound"]);
    // A speaker has, and so has a microphone that a host lists, or that comes later.
    let mut speaker = Table::new(DeviceDirection::Sink);
    speaker.want("cpal/usb");
    assert_eq!(speaker.failed(1, ErrorKind::NotFound), ["unavailable NotFound", "open 0:default #2"]);
    let mut listed = Table::new(DeviceDirection::Source);
    listed.manager.handle_devices(listed.at(), 0, vec![listed.info("usb")]);
    listed.want("cpal/usb");
    assert_eq!(listed.failed(1, ErrorKind::Busy), ["unavailable Busy", "open 0:default #2"]);
}

#[test]
fn a_default_that_died_is_opened_again_at_once() {
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("default");
    table.opened(1);
    table.wait(20_000);
    assert_eq!(table.lost(1), ["use none", "close #1", "lost 0:default", "open 0:default #2"]);
    table.opened(2);
    // One that dies at once again waits.
    assert_eq!(table.lost(2), ["use none", "close #2", "lost 0:default"]);
    assert!(table.wait(499).is_empty());
    assert_eq!(table.wait(600), ["open 0:default #3"]);
}

#[test]
fn a_new_default_takes_the_place_of_the_old_one() {
    let mut table = Table::new(DeviceDirection::Sink);
    let default = |table: &Table, name: &str| {
        let mut info = table.info(name);
        info.is_default = true;
        info
    };
    table.manager.handle_devices(table.at(), 0, vec![default(&table, "a"), table.info("b")]);
    table.want("default");
    table.opened(1);
    table.wait(1_000);
    assert!(table.change(0, DeviceChange::DefaultChanged(default(&table, "a"))).is_empty(), "it is the same");
    assert!(table.change(1, DeviceChange::DefaultChanged(default(&table, "c"))).is_empty(), "a later host's");
    assert_eq!(table.change(0, DeviceChange::DefaultChanged(default(&table, "b"))), ["open 0:default #2"]);
    assert_eq!(table.opened(2), ["use #2", "close #1", "changed 0:default"]);
    // // The audio server moved the stream to another device and told nothing.
    table.wait(20_000);
    let removed = table.change(0, DeviceChange::Removed("b".to_owned()));
    assert_eq!(removed, ["use none", "close #2", "lost 0:default", "open 0:default #3"]);
}

#[test]
fn a_device_that_is_removed_is_lost_without_its_stream_telling() {
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("usb");
    table.opened(1);
    let lists = [vec![table.info("usb"), table.info("other")], vec![table.info("usb")], vec![]];
    let mut outputs = Vec::new();
    for list in lists {
        table.manager.handle_devices(table.at(), 0, list);
        outputs.push(table.outputs());
    }
    assert!(outputs[0].is_empty() && outputs[1].is_empty());
    assert_eq!(outputs[2], ["use none", "close #1", "lost 0:usb", "open 0:default #2"]);
    assert!(table.lost(1).is_empty(), "told once");
    // A microphone of the same name is another device.
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("usb");
    table.opened(1);
    let microphone = DeviceInfo::new("usb", "usb", DeviceDirection::Source, TrackKind::Audio);
    table.manager.handle_devices(table.at(), 0, vec![microphone, table.info("usb")]);
    table.manager.handle_devices(table.at(), 0, vec![table.info("usb")]);
    assert!(table.outputs().is_empty());
}

#[test]
fn openings_that_are_no_longer_wanted_are_closed() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        table.want("usb");
        assert!(table.want("other").is_empty(), "one opening at a time");
        assert_eq!(table.opened(1), ["close #1", "open 0:other #2"]);
        assert!(table.want("none").is_empty());
        assert_eq!(table.opened(2), ["close #2"]);
        table.want("usb");
        assert!(table.want("other").is_empty());
        assert_eq!(table.failed(3, ErrorKind::NotFound), ["open 0:other #4"]);
        assert_eq!(table.opened(77), ["close #77"], "an unknown one");
    }
}

#[test]
fn an_opening_that_hangs_has_failed_and_is_closed_should_it_succeed() {
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("cpal/usb");
    assert!(table.wait(4_999).is_empty());
    assert_eq!(table.wait(1), ["unavailable Timeout", "open 0:default #2"]);
    assert_eq!(table.opened(1), ["close #1"]);
    assert_eq!(table.opened(2), ["use #2", "fallback 0:default"]);
    assert!(table.failed(1, ErrorKind::Io).is_empty());
}

#[test]
fn both_directions_are_independent() {
    let mut table = Table::new(DeviceDirection::Source);
    table.want("usb");
    table.direction = DeviceDirection::Sink;
    assert_eq!(table.want("usb"), ["open 0:usb #2"]);
    assert_eq!(table.opened(2), ["use #2", "changed 0:usb"]);
    assert_eq!(table.lost(2), ["use none", "close #2", "lost 0:usb", "open 0:default #3"]);
    table.direction = DeviceDirection::Source;
    assert_eq!(table.opened(1), ["use #1", "changed 0:usb"]);
}

/// Millions of error callbacks, and a device that opens and dies as fast as it can.
#[test]
fn a_device_that_dies_a_thousand_times_in_a_second_reports_a_few_events() {
    for (direction, name) in BOTH.into_iter().flat_map(|direction| [(direction, "usb"), (direction, "default")]) {
        let mut table = Table::new(direction);
        let mut reports = 0;
        let mut outputs = table.want(name);
        for ms in 0..60_000 {
            let mut next = Vec::new();
            for output in outputs.drain(..) {
                reports +=
                    u32::from(["lost", "changed", "fallback", "unavailable"].iter().any(|it| output.starts_with(it)));
                if let Some(id) = output.strip_prefix("open ").and_then(|open| open.split_once('#')) {
                    next.extend(table.opened(id.1.parse().unwrap()));
                }
            }
            // It says that it is lost a thousand times a second, and the host that it is there
            // again.
            for _ in 0..10 {
                if let Some((id, _)) = table.manager.in_use(direction) {
                    next.extend(table.lost(id.0));
                }
            }
            next.extend(table.change(0, DeviceChange::Added(table.info(name))));
            next.extend(table.wait(1));
            outputs = next;
            assert!(ms != 1_000 || reports <= 16, "{name}: {reports} reports in the first second");
        }
        assert!(reports <= 60, "{name}: {reports} reports in a minute");
    }
}
