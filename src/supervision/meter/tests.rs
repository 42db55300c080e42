//! Meters: counts, runs, and who was there last.

use super::*;
use proptest::prelude::*;

fn at(millis: u64, run: u64) -> Stamp {
    Stamp { time: Duration::from_millis(millis), run }
}

#[test]
fn clones_count_into_the_same_meter_and_neighbours_do_not() {
    let meters = Meters::new(2);
    let meter = meters.of(1).expect("two meters");
    let peer = "127.0.0.1:40999".parse().expect("an address");
    meter.session_accepted(peer, at(5, 0));
    meter.clone().session_bytes(7, 6, at(9, 0));
    meter.session_accepted(peer, at(9, 0));
    meter.clone().session_ended();
    let reading = meters.read(1);
    assert_eq!((reading.came, reading.active(), reading.bytes_in, reading.bytes_out), (2, 1, 7, 6));
    assert_eq!((reading.seen, reading.peer), (Some(at(9, 0)), Some(peer)));
    assert_eq!(meters.read(0), Reading::default());
    assert!(meters.of(2).is_none());
}

#[test]
fn a_new_run_forgets_who_was_there_before() {
    let meters = Meters::new(1);
    let meter = meters.of(0).expect("one meter");
    assert!(!meters.read(0).is_touched(0));
    meter.datagram_bytes(1, 1, None, at(0, 0));
    assert!(meters.read(0).is_touched(0) && !meters.read(0).is_touched(1));
    meter.datagram_bytes(1, 1, None, at(0, 1));
    assert!(meters.read(0).is_touched(1));
}

#[test]
fn words_of_two_peers_are_nobody() {
    let [one, other] = ["[::1]:80", "10.0.0.1:80"].map(|peer| peer.parse().expect("an address"));
    let ([high, ..], [_, low, last]) = (pack(one), pack(other));
    assert_eq!(unpack([high, low, last]), Some(other));
    let [_, low_of_one, last_of_one] = pack(one);
    assert_eq!(unpack([high, low, last_of_one]), None);
    assert_eq!(unpack([high, low_of_one, last]), None);
    assert_eq!(unpack([0, 0, 0]), None);
}

#[test]
fn a_network_holds_what_begins_as_it_does() {
    let within = |ip: &str, network: &str, bits| {
        is_within(ip.parse().expect("an IP"), network.parse().expect("an IP"), bits)
    };
    assert!(within("10.0.0.255", "10.0.0.0", 24) && !within("10.0.1.0", "10.0.0.0", 24));
    assert!(within("10.0.0.1", "10.0.0.1", 32) && !within("10.0.0.0", "10.0.0.1", 32));
    assert!(within("192.0.2.1", "0.0.0.0", 0) && !within("192.0.2.1", "::", 0));
    assert!(within("2001:db8::9", "2001:db8::", 64) && !within("2001:db9::", "2001:db8::", 32));
}

#[test]
fn an_endpoint_costs_16_bytes_and_72_once_a_client_came() {
    assert_eq!((size_of::<Block>(), size_of::<OnceLock<Box<Block>>>()), (72, 16));
}

proptest! {
    #[test]
    fn a_peer_comes_back_as_it_was(ip in any::<IpAddr>(), port in any::<u16>()) {
        let peer = SocketAddr::new(ip, port);
        prop_assert_eq!(unpack(pack(peer)), Some(peer));
    }
}
