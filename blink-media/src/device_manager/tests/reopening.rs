//! Devices that must not be opened again, or not yet.

use super::*;

/// Opening a file anew truncates it.
#[test]
fn a_device_that_failed_to_write_is_opened_again_only_on_request() {
    let mut table = Table::new(DeviceDirection::Sink);
    let name = "synthetic/wav:/tmp/a.wav";
    table.want(name);
    table.opened(1);
    table.wait(60_000);
    let full = Error::new(ErrorKind::Io, "the disk is full");
    table.manager.handle_lost(table.at(), OpenId(1), Some(full));
    assert_eq!(table.outputs(), ["use none", "close #1", "lost 1:wav:/tmp/a.wav", "open 0:default #2"]);
    assert_eq!(table.opened(2), ["use #2", "fallback 0:default"]);
    assert!(table.wait(600_000).is_empty());
    assert!(table.change(1, DeviceChange::Added(table.info("wav:/tmp/a.wav"))).is_empty());
    assert_eq!(table.want(name), ["open 1:wav:/tmp/a.wav #3"]);
    assert_eq!(table.opened(3), ["use #3", "close #2", "changed 1:wav:/tmp/a.wav"]);
}

#[test]
fn the_first_list_of_a_host_does_not_open_its_default_again() {
    let mut table = Table::new(DeviceDirection::Sink);
    let default = |table: &Table, name: &str| {
        let mut info = table.info(name);
        info.is_default = true;
        info
    };
    table.want("default");
    table.opened(1);
    table.wait(20_000);
    table.manager.handle_devices(table.at(), 0, vec![default(&table, "a"), table.info("b")]);
    assert!(table.outputs().is_empty());
    // It is known from then on which one is in use.
    table.manager.handle_devices(table.at(), 0, vec![default(&table, "b"), table.info("a")]);
    assert_eq!(table.outputs(), ["open 0:default #2"]);
    table.opened(2);
    assert_eq!(table.change(0, DeviceChange::Removed("b".to_owned()))[2], "lost 0:default");
}

#[test]
fn a_device_whose_opening_hangs_is_not_opened_a_second_time() {
    for direction in BOTH {
        let mut table = Table::new(direction);
        table.want("cpal/default");
        assert_eq!(table.wait(3_600_000), ["unavailable Timeout"]);
        // The one that hangs may be asked for in another way.
        assert!(table.want("none").is_empty());
        assert_eq!(table.want("default"), ["open 1:default #2"]);
        let is_source = direction == DeviceDirection::Source;
        let next = if is_source { "unavailable Timeout" } else { "open 2:default #3" };
        assert_eq!(table.wait(5_000)[0], next);
        table.want("cpal/default");
        table.wait(60_000);
        // Once it has ended, it is tried again.
        assert_eq!(table.opened(1), ["close #1"]);
        let outputs = table.wait(10_000);
        assert!(outputs[0].starts_with("open 0:default #"), "{outputs:?}");
    }
}

#[test]
fn few_openings_hang_at_once() {
    let mut table = Table::new(DeviceDirection::Source);
    let mut openings = 0;
    for device in 0..100 {
        let mut outputs = table.want(&format!("cpal/{device}"));
        outputs.extend(table.wait(6_000));
        openings += outputs.iter().filter(|output| output.starts_with("open")).count();
    }
    assert_eq!(openings, 8);
}

#[test]
fn a_removal_is_noticed_although_the_first_list_failed() {
    let mut table = Table::new(DeviceDirection::Sink);
    table.want("usb");
    table.opened(1);
    table.change(0, DeviceChange::Added(table.info("other")));
    let removed = table.change(0, DeviceChange::Removed("usb".to_owned()));
    assert_eq!(removed, ["use none", "close #1", "lost 0:usb", "open 0:default #2"]);
}
