//! Selection of local addresses for host candidates.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blink_api::{Error, ErrorKind, Result};
use if_addrs::Interface;

/// Maximum number of addresses: each costs a socket and adds a row of candidate pairs.
const MAX_ADDRESSES: usize = 8;
/// Maximum number of remembered log messages, each of which is logged once.
const MAX_NOTICES: usize = 64;
/// Destinations reached only by a default route (RFC 5737, RFC 3849). Nothing is sent to them.
const OUTSIDE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];
/// Usual name prefixes of container and VM interfaces, for systems without a better indication.
const VIRTUAL_NAMES: &[&str] = &[
    "br-",
    "bridge",
    "cali",
    "cbr",
    "cni",
    "docker",
    "dummy",
    "flannel",
    "lxcbr",
    "lxdbr",
    "podman",
    "vboxnet",
    "veth",
    "virbr",
    "vmnet",
    "vnet",
    "vEthernet",
];

/// Selector of local addresses, which logs omitted ones once. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AddressSelector {
    notices: Arc<Mutex<HashSet<String>>>,
}

/// Selected addresses, most useful first, and what to log about the selection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    addresses: Vec<IpAddr>,
    /// Interfaces with addresses beyond the limit.
    omitted: Vec<String>,
    /// Configured interfaces that do not exist now, and the number of those given by address.
    missing: Vec<String>,
    missing_addresses: usize,
}

/// Address of a local interface.
struct LocalAddress {
    name: String,
    ip: IpAddr,
    is_up: bool,
    is_virtual: bool,
}

impl AddressSelector {
    /// Selects the addresses for a session, at most eight.
    ///
    /// * `wanted` lists interfaces or addresses (`ice.interfaces`). Only these are used, including
    ///   loopback, in this order. Those that do not exist now are skipped; a later session or ICE
    ///   restart picks them up.
    /// * If it is empty: every interface that is up, without loopback and link-local addresses.
    ///   Those with a default route come first, those of containers and virtual machines last. If
    ///   there is none (no network), a loopback address, so that two sessions on one machine can
    ///   connect.
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) if none of the wanted interfaces exists now,
    /// [`Io`](ErrorKind::Io) if the interfaces cannot be listed.
    pub fn usable(&self, wanted: &[String]) -> Result<Vec<IpAddr>> {
        let local: Vec<LocalAddress> = if_addrs::get_if_addrs()?.into_iter().map(LocalAddress::new).collect();
        let outside = if wanted.is_empty() { outside_addresses() } else { Vec::new() };
        let selection = select(&local, wanted, &outside);
        if selection.addresses.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "none of the configured interfaces exists now")
                .with("key", "ice.interfaces")
                .with("value", wanted.join(", ")));
        }
        self.log(&selection);
        Ok(selection.addresses)
    }

    /// Logs interface names only, since addresses are private.
    fn log(&self, selection: &Selection) {
        let Selection { omitted, missing, missing_addresses, .. } = selection;
        if !omitted.is_empty() && self.is_new(format!("omitted {omitted:?}")) {
            tracing::warn!(
                interfaces = omitted.join(", "),
                limit = MAX_ADDRESSES,
                "more local addresses than a session uses: list the ones to use in ice.interfaces"
            );
        }
        if missing.len() + missing_addresses > 0 && self.is_new(format!("absent {missing:?} {missing_addresses}")) {
            tracing::warn!(
                interfaces = missing.join(", "),
                addresses = missing_addresses,
                "interfaces in ice.interfaces do not exist now and are skipped"
            );
        }
    }

    fn is_new(&self, notice: String) -> bool {
        let mut notices = self.notices.lock().unwrap_or_else(PoisonError::into_inner);
        notices.len() < MAX_NOTICES && notices.insert(notice)
    }
}

impl LocalAddress {
    fn new(interface: Interface) -> Self {
        let ip = interface.ip();
        let is_virtual = is_virtual(&interface.name);
        Self { is_up: interface.is_oper_up(), name: interface.name, ip, is_virtual }
    }
}

fn select(local: &[LocalAddress], wanted: &[String], outside: &[IpAddr]) -> Selection {
    let mut selection = Selection::default();
    let mut chosen: Vec<&LocalAddress> = Vec::new();
    for name in wanted {
        let before = chosen.len();
        let address = name.parse::<IpAddr>().ok();
        chosen.extend(local.iter().filter(|local| match address {
            Some(address) => local.ip == address,
            None => local.name == *name && !is_link_local(local.ip),
        }));
        match address {
            _ if chosen.len() > before => {}
            Some(_) => selection.missing_addresses += 1,
            None => selection.missing.push(name.clone()),
        }
    }
    if wanted.is_empty() {
        chosen = by_usefulness(local, outside);
    }
    for local in chosen {
        if selection.addresses.contains(&local.ip) {
            continue;
        }
        if selection.addresses.len() < MAX_ADDRESSES {
            selection.addresses.push(local.ip);
        } else if !selection.omitted.contains(&local.name) {
            selection.omitted.push(local.name.clone());
        }
    }
    if wanted.is_empty() && selection.addresses.is_empty() {
        let mut loopback: Vec<IpAddr> = local.iter().map(|local| local.ip).filter(IpAddr::is_loopback).collect();
        loopback.sort_by_key(|ip| !ip.is_ipv4());
        selection.addresses.push(loopback.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    selection
}

/// Sorts addresses by the likelihood that a peer can reach them, without loopback and link-local
/// ones. Within a class, the first address of each interface and family precedes any second one.
fn by_usefulness<'a>(local: &'a [LocalAddress], outside: &[IpAddr]) -> Vec<&'a LocalAddress> {
    let usable = local.iter().filter(|local| local.is_up && !local.ip.is_loopback() && !is_link_local(local.ip));
    let mut counts: HashMap<(&str, bool), usize> = HashMap::new();
    let mut ranked: Vec<((u8, usize), &LocalAddress)> = usable
        .map(|local| {
            let class = match () {
                () if outside.contains(&local.ip) => 0,
                () if !local.is_virtual => 1,
                () => 2,
            };
            let count = counts.entry((&local.name, local.ip.is_ipv4())).or_default();
            *count += 1;
            ((class, *count), local)
        })
        .collect();
    // The sort is stable, so the operating system's order is kept within a rank.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, local)| local).collect()
}

/// Local source address of each family for packets that take the default route.
fn outside_addresses() -> Vec<IpAddr> {
    let source = |destination: SocketAddr| {
        let any = if destination.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // Connecting a UDP socket looks up the route without sending.
        socket.connect(destination)?;
        socket.local_addr()
    };
    // Without a default route of a family there is no such address.
    OUTSIDE.into_iter().filter_map(|destination| source(destination).ok()).map(|local| local.ip()).collect()
}

/// Returns whether an interface is a bridge or belongs to containers or VMs. Tunnels do not count.
fn is_virtual(name: &str) -> bool {
    // Linux marks bridges in sysfs. The check for a slash prevents path traversal.
    let is_bridge = !name.contains('/') && Path::new("/sys/class/net").join(name).join("bridge").exists();
    is_bridge || VIRTUAL_NAMES.iter().any(|prefix| name.starts_with(prefix))
}

/// Returns whether an address is link-local, which needs a zone that candidates cannot carry (RFC
/// 8839 §5.1).
fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => address.is_link_local(),
        IpAddr::V6(address) => address.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn local(name: &str, address: &str) -> LocalAddress {
        let ip = address.parse().expect("an address in a test");
        LocalAddress { name: name.to_owned(), ip, is_up: true, is_virtual: is_virtual(name) }
    }

    fn machine() -> Vec<LocalAddress> {
        vec![
            local("lo", "127.0.0.1"),
            local("eth0", "192.0.2.7"),
            local("eth0", "2001:db8::7"),
            local("eth0", "fe80::7"),
            local("wlan0", "198.51.100.7"),
        ]
    }

    /// A host with many containers whose external interfaces are listed last.
    fn container_host() -> Vec<LocalAddress> {
        let bridges = (0..9).map(|n| local(&format!("br-{n}"), &format!("172.{}.0.1", 16 + n)));
        bridges
            .chain([local("wlan0", "198.51.100.7"), local("eth0", "192.0.2.7"), local("eth0", "2001:db8::7")])
            .collect()
    }

    fn texts(selection: Selection) -> Vec<String> {
        selection.addresses.iter().map(ToString::to_string).collect()
    }

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn without_configuration_all_but_loopback_and_link_local_are_used() {
        assert_eq!(texts(select(&machine(), &[], &[])), ["192.0.2.7", "2001:db8::7", "198.51.100.7"]);
        let mut machine = machine();
        machine[1].is_up = false;
        assert_eq!(texts(select(&machine, &[], &[])), ["2001:db8::7", "198.51.100.7"]);
    }

    #[test]
    fn loopback_is_used_as_the_last_resort_or_when_configured() {
        let both = [local("lo", "::1"), local("lo", "127.0.0.1")];
        assert_eq!(texts(select(&both, &[], &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&both[..1], &[], &[])), ["::1"]);
        assert_eq!(texts(select(&[], &[], &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&machine(), &names(&["lo"]), &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&both, &names(&["::1"]), &[])), ["::1"]);
    }

    #[test]
    fn configured_interfaces_are_matched_by_name_or_address_and_missing_ones_skipped() {
        let wanted = names(&["198.51.100.7", "eth7", "eth0", "wlan0", "203.0.113.1", ""]);
        let selection = select(&machine(), &wanted, &[]);
        assert_eq!(selection.missing, ["eth7", ""]);
        assert_eq!(selection.missing_addresses, 1);
        assert_eq!(texts(selection), ["198.51.100.7", "192.0.2.7", "2001:db8::7"]);
        let mut later = machine();
        later.push(local("eth7", "192.0.2.77"));
        assert_eq!(texts(select(&later, &names(&["eth7", "lo"]), &[])), ["192.0.2.77", "127.0.0.1"]);
    }

    #[test]
    fn if_no_configured_interface_exists_no_other_is_used() {
        let missing = "no such interface".to_owned();
        let error = AddressSelector::default().usable(&[missing]).expect_err("the interface does not exist");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("ice.interfaces"), "{error}");
    }

    #[test]
    fn default_routes_come_first_and_container_bridges_last() {
        let outside = ["192.0.2.7".parse().expect("an address")];
        let selection = select(&container_host(), &[], &outside);
        assert_eq!(selection.omitted, ["br-5", "br-6", "br-7", "br-8"]);
        assert_eq!(
            texts(selection),
            [
                "192.0.2.7",
                "198.51.100.7",
                "2001:db8::7",
                "172.16.0.1",
                "172.17.0.1",
                "172.18.0.1",
                "172.19.0.1",
                "172.20.0.1"
            ]
        );
    }

    #[test]
    fn many_addresses_of_one_interface_do_not_displace_others() {
        let mut machine: Vec<_> = (0..20).map(|n| local("eth0", &format!("2001:db8::{n:x}"))).collect();
        machine.extend([local("eth0", "192.0.2.7"), local("wlan0", "198.51.100.7")]);
        let selection = select(&machine, &[], &[]);
        assert_eq!(selection.omitted, ["eth0"]);
        assert_eq!(texts(selection)[..4], ["2001:db8::", "192.0.2.7", "198.51.100.7", "2001:db8::1"]);
    }

    #[test]
    fn each_log_message_is_given_once() {
        let selector = AddressSelector::default();
        let given = ["eth7", "eth7", "eth8", "eth7"].map(|name| selector.clone().is_new(format!("absent {name}")));
        assert_eq!(given, [true, false, true, false]);
    }
}
