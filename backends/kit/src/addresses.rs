//! The local addresses to offer as host candidates.

use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use blink_api::{Error, ErrorKind, Result};
use if_addrs::Interface;

/// More addresses than this are left out: each costs a socket and doubles the pairs to check.
const MOST_ADDRESSES: usize = 8;
/// Notices remembered, so that each is given once.
const MAX_NOTICES: usize = 64;
/// Destinations that only a default route leads to (RFC 5737, RFC 3849). Nothing is sent there.
const OUTSIDE: [SocketAddr; 2] = [
    SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), 9),
    SocketAddr::new(IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1)), 9),
];
/// How the interfaces of containers and virtual machines are usually named, where the system does
/// not say what they are.
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

/// Chooses local addresses, and says once what it leaves out. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct AddressSelector {
    notices: Arc<Mutex<HashSet<String>>>,
}

/// Addresses chosen, the most useful first, and what the user should know of the choice.
#[derive(Debug, Default, PartialEq, Eq)]
struct Selection {
    addresses: Vec<IpAddr>,
    /// Names of the interfaces whose addresses are beyond the limit.
    left_out: Vec<String>,
    /// Wanted interfaces that are not there, and how many of those are named by address.
    absent: Vec<String>,
    absent_addresses: usize,
}

/// An address of an interface.
struct LocalAddress {
    name: String,
    ip: IpAddr,
    is_up: bool,
    is_virtual: bool,
}

impl AddressSelector {
    /// The addresses a session should use now, at most eight.
    ///
    /// * `wanted` names interfaces or their addresses (`ice.interfaces`). Only these are used,
    ///   loopback ones too, in that order. Those that are not there now are left out; a later
    ///   session or ICE restart uses them.
    /// * Without a wish: every interface that is up, but neither loopback nor link-local addresses.
    ///   Those with a route to the outside come first, those of containers and virtual machines
    ///   last. Where that leaves none (no network), a loopback address, so that two sessions on one
    ///   machine connect.
    ///
    /// # Errors
    /// [`Invalid`](ErrorKind::Invalid) where none of the wanted interfaces is there now,
    /// [`Io`](ErrorKind::Io) where the system does not tell.
    pub fn usable(&self, wanted: &[String]) -> Result<Vec<IpAddr>> {
        let local: Vec<LocalAddress> = if_addrs::get_if_addrs()?.into_iter().map(LocalAddress::new).collect();
        let outside = if wanted.is_empty() { outside_addresses() } else { Vec::new() };
        let selection = select(&local, wanted, &outside);
        self.tell(&selection);
        if selection.addresses.is_empty() {
            return Err(Error::new(ErrorKind::Invalid, "none of the wanted interfaces is there now")
                .with("key", "ice.interfaces")
                .with("value", wanted.join(", ")));
        }
        Ok(selection.addresses)
    }

    /// Names interfaces only: addresses do not belong into logs.
    fn tell(&self, selection: &Selection) {
        let Selection { left_out, absent, absent_addresses, .. } = selection;
        if !left_out.is_empty() && self.is_new(format!("left out {left_out:?}")) {
            tracing::warn!(
                interfaces = left_out.join(", "),
                limit = MOST_ADDRESSES,
                "more local addresses than calls use; ice.interfaces names those to use"
            );
        }
        if absent.len() + absent_addresses > 0 && self.is_new(format!("absent {absent:?} {absent_addresses}")) {
            tracing::warn!(
                interfaces = absent.join(", "),
                addresses = absent_addresses,
                "interfaces named in ice.interfaces are not there now and not used"
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
            Some(_) => selection.absent_addresses += 1,
            None => selection.absent.push(name.clone()),
        }
    }
    if wanted.is_empty() {
        chosen = by_usefulness(local, outside);
    }
    for local in chosen {
        if selection.addresses.contains(&local.ip) {
            continue;
        }
        if selection.addresses.len() < MOST_ADDRESSES {
            selection.addresses.push(local.ip);
        } else if !selection.left_out.contains(&local.name) {
            selection.left_out.push(local.name.clone());
        }
    }
    if wanted.is_empty() && selection.addresses.is_empty() {
        let mut loopback: Vec<IpAddr> = local.iter().map(|local| local.ip).filter(IpAddr::is_loopback).collect();
        loopback.sort_by_key(|ip| !ip.is_ipv4());
        selection.addresses.push(loopback.first().copied().unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST)));
    }
    selection
}

/// Addresses without loopback and link-local ones, by how likely a peer can reach them. Of each
/// class, the first address of each interface and family comes before the second of any.
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
    // Stable: otherwise in the system's order.
    ranked.sort_by_key(|(rank, _)| *rank);
    ranked.into_iter().map(|(_, local)| local).collect()
}

/// The local address of each family from which packets to the outside would go.
fn outside_addresses() -> Vec<IpAddr> {
    let source = |destination: SocketAddr| {
        let any = if destination.is_ipv4() { IpAddr::V4(Ipv4Addr::UNSPECIFIED) } else { Ipv6Addr::UNSPECIFIED.into() };
        let socket = UdpSocket::bind((any, 0))?;
        // Looks up the route and sends nothing.
        socket.connect(destination)?;
        socket.local_addr()
    };
    // Where there is no such route there is no such address.
    OUTSIDE.into_iter().filter_map(|destination| source(destination).ok()).map(|local| local.ip()).collect()
}

/// Bridges and the interfaces of containers and virtual machines. Tunnels are not meant.
fn is_virtual(name: &str) -> bool {
    // Linux says which interfaces are bridges. A name with a slash is none of its interfaces'
    // names.
    let is_bridge = !name.contains('/') && Path::new("/sys/class/net").join(name).join("bridge").exists();
    is_bridge || VIRTUAL_NAMES.iter().any(|prefix| name.starts_with(prefix))
}

/// Link-local addresses need a zone that candidates cannot carry (RFC 8839 §5.1).
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

    /// A host where many containers run, and its interfaces to the outside came last.
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
    fn all_but_loopback_and_link_local_are_used_without_a_wish() {
        assert_eq!(texts(select(&machine(), &[], &[])), ["192.0.2.7", "2001:db8::7", "198.51.100.7"]);
        let mut machine = machine();
        machine[1].is_up = false;
        assert_eq!(texts(select(&machine, &[], &[])), ["2001:db8::7", "198.51.100.7"]);
    }

    #[test]
    fn loopback_is_used_when_there_is_nothing_else_or_it_is_named() {
        let both = [local("lo", "::1"), local("lo", "127.0.0.1")];
        assert_eq!(texts(select(&both, &[], &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&both[..1], &[], &[])), ["::1"]);
        assert_eq!(texts(select(&[], &[], &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&machine(), &names(&["lo"]), &[])), ["127.0.0.1"]);
        assert_eq!(texts(select(&both, &names(&["::1"]), &[])), ["::1"]);
    }

    #[test]
    fn wanted_interfaces_are_named_by_name_or_address_and_those_that_are_there_are_used() {
        let wanted = names(&["198.51.100.7", "eth7", "eth0", "wlan0", "203.0.113.1", ""]);
        let selection = select(&machine(), &wanted, &[]);
        assert_eq!(selection.absent, ["eth7", ""]);
        assert_eq!(selection.absent_addresses, 1);
        assert_eq!(texts(selection), ["198.51.100.7", "192.0.2.7", "2001:db8::7"]);
        let mut later = machine();
        later.push(local("eth7", "192.0.2.77"));
        assert_eq!(texts(select(&later, &names(&["eth7", "lo"]), &[])), ["192.0.2.77", "127.0.0.1"]);
    }

    #[test]
    fn without_any_of_the_wanted_interfaces_no_other_is_used() {
        let absent = "no such interface".to_owned();
        let error = AddressSelector::default().usable(&[absent]).expect_err("it is not there");
        assert_eq!(error.kind(), ErrorKind::Invalid);
        assert!(error.to_string().contains("ice.interfaces"), "{error}");
    }

    #[test]
    fn what_leads_outside_comes_first_and_bridges_of_containers_last() {
        let outside = ["192.0.2.7".parse().expect("an address")];
        let selection = select(&container_host(), &[], &outside);
        assert_eq!(selection.left_out, ["br-5", "br-6", "br-7", "br-8"]);
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
    fn many_addresses_of_one_interface_do_not_push_out_those_of_others() {
        let mut machine: Vec<_> = (0..20).map(|n| local("eth0", &format!("2001:db8::{n:x}"))).collect();
        machine.extend([local("eth0", "192.0.2.7"), local("wlan0", "198.51.100.7")]);
        let selection = select(&machine, &[], &[]);
        assert_eq!(selection.left_out, ["eth0"]);
        assert_eq!(texts(selection)[..4], ["2001:db8::", "192.0.2.7", "198.51.100.7", "2001:db8::1"]);
    }

    #[test]
    fn a_notice_is_given_once_and_again_when_something_else_is_left_out() {
        let selector = AddressSelector::default();
        let given = ["eth7", "eth7", "eth8", "eth7"].map(|name| selector.clone().is_new(format!("absent {name}")));
        assert_eq!(given, [true, false, true, false]);
    }
}
