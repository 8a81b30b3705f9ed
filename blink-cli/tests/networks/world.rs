//! Two private networks behind routers and a public one, as network namespaces.

use std::process::{Child, Command, Stdio};

/// Public address of the node.
pub(crate) const NODE: &str = "11.99.0.1";

/// Kind of network address translation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nat {
    /// Keeps the port of a socket for all destinations, where it is free, and lets in datagrams of
    /// these destinations (RFC 4787: address and port-dependent filtering): holes can be punched,
    /// unless the other router is symmetric.
    PortPreserving,
    /// Keeps the port, and lets in UDP datagrams from anywhere to a port that was used
    /// (endpoint-independent filtering).
    FullCone,
    /// Takes a random port for each destination.
    Symmetric,
}

/// Namespaces of a test, which end with their processes.
pub(crate) struct World {
    /// The node, the routers of A and B, A, B, and the public network's switch.
    namespaces: Vec<Child>,
}

/// Place in a [`World`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Place {
    Node = 0,
    A = 3,
    B = 4,
}

/// Connects the namespaces `$1` to `$6`; `$7` and `$8` are the options of the two masquerade rules,
/// and whether ports that were used stay open (`cone`).
const SCRIPT: &str = r#"
set -e
node=$1 router_a=$2 router_b=$3 a=$4 b=$5 switch=$6 nat_a=$7 nat_b=$8
in_ns() { pid=$1; shift; nsenter --net=/proc/$pid/ns/net "$@"; }
for ns in $node $router_a $router_b $a $b $switch; do in_ns $ns ip link set lo up; done
in_ns $switch ip link add br0 type bridge
in_ns $switch ip link set br0 up
public() {
    in_ns $switch ip link add $2 type veth peer name pub netns $1
    in_ns $switch ip link set $2 master br0 up
    in_ns $1 ip addr add $3/24 dev pub
    in_ns $1 ip link set pub up
}
public $node p0 11.99.0.1
public $router_a p1 11.99.0.2
public $router_b p2 11.99.0.3
private() {
    in_ns $1 ip link add lan type veth peer name eth netns $2
    in_ns $1 ip addr add $3.1/24 dev lan
    in_ns $1 ip link set lan up
    in_ns $2 ip addr add $3.2/24 dev eth
    in_ns $2 ip link set eth up
    in_ns $2 ip route add default via $3.1
    in_ns $1 sh -c 'echo 1 > /proc/sys/net/ipv4/ip_forward'
    options=$4 open=
    if [ "$4" = cone ]; then
        options= open="iifname pub udp dport @used dnat to $3.2"
    fi
    in_ns $1 nft -f - <<RULES
table ip nat {
    set used { type inet_service; flags dynamic,timeout; timeout 5m; }
    chain remember {
        type filter hook forward priority -10;
        iifname lan oifname pub meta l4proto udp update @used { udp sport }
    }
    chain pre { type nat hook prerouting priority -100; $open; }
    chain post { type nat hook postrouting priority 100; oifname pub masquerade $options; }
}
table ip filter {
    chain forward {
        type filter hook forward priority 0; policy drop;
        ct state established,related accept
        ct status dnat accept
        iifname lan accept
    }
    chain input {
        type filter hook input priority 0; policy drop;
        ct state established,related accept
        iifname lan accept
    }
}
RULES
}
private $router_a $a 192.168.1 "$nat_a"
private $router_b $b 192.168.2 "$nat_b"
"#;

impl World {
    /// Creates the networks.
    ///
    /// # Errors
    /// The output of the command that failed, such as without the permission.
    pub(crate) fn create(nats: [Nat; 2]) -> Result<Self, String> {
        let mut world = Self { namespaces: Vec::new() };
        for _ in 0..6 {
            let mut holder = Command::new("unshare");
            // The namespace is ready once its process answers.
            holder.args(["--net", "sh", "-c", "echo ready; exec sleep 3600"]);
            holder.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
            let mut holder = holder.spawn().map_err(|error| format!("unshare: {error}"))?;
            let mut ready = [0; 6];
            let answered = holder.stdout.take().map(|mut output| std::io::Read::read_exact(&mut output, &mut ready));
            world.namespaces.push(holder);
            if !matches!(answered, Some(Ok(()))) {
                return Err("unshare --net: not permitted".to_owned());
            }
        }
        let option = |nat| match nat {
            Nat::PortPreserving => "",
            Nat::FullCone => "cone",
            Nat::Symmetric => "fully-random",
        };
        let mut script = Command::new("sh");
        script.args(["-c", SCRIPT, "sh"]).args(world.namespaces.iter().map(|holder| holder.id().to_string()));
        script.args(nats.map(option)).stdin(Stdio::null());
        let output = script.output().map_err(|error| format!("sh: {error}"))?;
        match output.status.success() {
            true => Ok(world),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Command in one of the namespaces.
    pub(crate) fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.namespaces[place as usize].id();
        command.arg(format!("--net=/proc/{pid}/ns/net")).arg(program);
        command
    }
}

impl Drop for World {
    fn drop(&mut self) {
        for holder in &mut self.namespaces {
            holder.kill().ok();
            holder.wait().ok();
        }
    }
}
