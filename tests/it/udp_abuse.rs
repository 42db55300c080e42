//! Forged sources, loops and floods against UDP endpoints (faults 34 to 38), in networks
//! of the tests' own.

use std::net::{Ipv4Addr, UdpSocket};
use std::time::{Duration, Instant};

use crate::common::{
    DEADLINE, Ipcow, Namespace, Need, Running, Spoofer, counts, echo_udp, eventually, needs,
    resident_kib, udp_client,
};

/// Where the server is; its neighbour is `THERE`.
const HERE: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 1);
const THERE: Ipv4Addr = Ipv4Addr::new(10, 79, 0, 2);
const PORT: u16 = 18_000;

/// Two networks with a cable between them; `None` where the machine cannot have them.
fn two_networks() -> Option<(Namespace, Namespace)> {
    needs(&[Need::Root, Need::Tool("ip")]).then(|| {
        let (here, there) = (Namespace::new(), Namespace::new());
        here.cable(&there);
        (here, there)
    })
}

/// Has a datagram answered, after all that was sent before it. Asks again where it is
/// lost, as a busy machine's network may; each number once, since one and the same
/// payload at full speed would be a loop.
fn barrier(client: &UdpSocket, number: u32) {
    let (sent, mut back) = (number.to_be_bytes(), [0; 4]);
    client.set_read_timeout(Some(Duration::from_millis(500))).expect("legal");
    let answered = eventually(DEADLINE, || {
        client.send(&sent).expect("it leaves");
        while client.recv(&mut back).is_ok() {
            if back == sent {
                return true;
            }
        }
        false
    });
    assert!(answered, "no answer to {number}");
}

/// A service on its network's end of the cable.
fn serving(network: &Namespace, ip: Ipv4Addr, settings: &[&str]) -> Running {
    network.enter(|| {
        let command = Ipcow::serve([format!("udp://{ip}:{PORT}")]);
        let mut server = settings.iter().fold(command, |it, setting| it.set(setting)).start();
        assert_eq!(server.ready().endpoints("listening"), 1);
        server
    })
}

fn dropped(summary: &serde_json::Value, reason: &str) -> u64 {
    summary["datagrams"]["dropped"][reason].as_u64().unwrap_or(0)
}

fn expect_no_more_out_than_in(summary: &serde_json::Value) {
    let [received, out] = counts(summary, "bytes", ["udp_in", "udp_out"]);
    assert!(out <= received, "{summary}");
}

#[test]
fn forged_source_ports_of_other_services_get_no_reply_and_are_counted() {
    let Some((here, there)) = two_networks() else { return };
    let server = serving(&here, HERE, &[]);
    there.enter(|| {
        let spoofer = Spoofer::new();
        for port in [0, 7, 19, 53, 123, 1_023, 2_049] {
            spoofer.send((THERE, port), (HERE, PORT), b"loop?");
        }
        let allowed = UdpSocket::bind((THERE, 1_024)).expect("a fresh address");
        allowed.set_read_timeout(Some(DEADLINE)).expect("legal");
        allowed.connect((HERE, PORT)).expect("a route");
        echo_udp(&allowed, b"1024 is fine");
    });
    let done = server.terminate().expect_code(0);
    let (said, summary) = (&done.stderr, done.summary());
    assert_eq!(said.matches("udp.refuse_source_ports").count(), 1, "one line a reason: {said}");
    assert_eq!(dropped(&summary, "source_port"), 7, "{summary}");
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [8, 1], "{summary}");
}

#[test]
fn sources_that_stand_for_many_get_no_reply() {
    let Some((here, there)) = two_networks() else { return };
    let specs = [format!("udp://{HERE},127.0.0.1:{PORT}")];
    let mut server = here.enter(|| Ipcow::serve(specs).start());
    assert_eq!(server.ready().endpoints("listening"), 2);
    // The kernel drops some of them as martians, and delivers others.
    let many = ["127.255.255.255", "224.0.0.1", "10.79.0.255", "255.255.255.255", "0.1.2.3"];
    let forge = |network: &Namespace, to: Ipv4Addr| {
        network.enter(|| {
            let spoofer = Spoofer::new();
            for source in many {
                spoofer.send((source.parse().expect("an address"), 40_000), (to, PORT), b"?");
            }
            echo_udp(&udp_client((to, PORT).into()), b"barrier");
        });
    };
    forge(&here, Ipv4Addr::LOCALHOST);
    forge(&there, HERE);
    let summary = server.terminate().expect_code(0).summary();
    let [received, replied] = counts(&summary, "datagrams", ["received", "replied"]);
    assert_eq!(replied, 2, "the barriers alone: {summary}");
    assert!(received >= 4, "the kernel delivered some: {summary}");
    // The last is what the kernel says of a broadcast address of another interface.
    let refused = ["broadcast", "multicast", "zero_net", "loopback_source", "unreachable"];
    let refused: u64 = refused.iter().map(|reason| dropped(&summary, reason)).sum();
    assert_eq!(refused, received - 2, "{summary}");
}

#[test]
fn a_source_that_is_the_endpoint_itself_gets_no_reply() {
    let Some((here, there)) = two_networks() else { return };
    let server = serving(&here, HERE, &["udp.rate_per_source=0", "udp.loop_breaker_per_sec=0"]);
    // On its way through the loopback interface, where the kernel lets it pass.
    here.enter(|| Spoofer::new().send((HERE, PORT), (HERE, PORT), b"myself"));
    there.enter(|| echo_udp(&udp_client((HERE, PORT).into()), b"barrier"));
    let summary = server.terminate().expect_code(0).summary();
    assert_eq!(counts(&summary, "datagrams", ["received", "replied"]), [2, 1], "{summary}");
    assert_eq!(dropped(&summary, "own_endpoint"), 1, "{summary}");
}

/// Two services that answer each other, set going by one forged datagram: how long until
/// nothing moves any more, and their summaries.
fn loop_between(settings: &[&str]) -> Option<(Duration, [serde_json::Value; 2])> {
    let (here, there) = two_networks()?;
    let servers = [serving(&here, HERE, settings), serving(&there, THERE, settings)];
    let begin = Instant::now();
    there.enter(|| Spoofer::new().send((THERE, PORT), (HERE, PORT), b"round and round"));
    let (mut seen, mut moved) = (0, Instant::now());
    let rests = eventually(DEADLINE, || {
        let packets = here.packets();
        if packets != seen {
            (seen, moved) = (packets, Instant::now());
        }
        seen > 1 && moved.elapsed() > Duration::from_millis(500)
    });
    assert!(rests, "the loop never ends");
    let summaries = servers.map(|server| server.terminate().expect_code(0).summary());
    for summary in &summaries {
        expect_no_more_out_than_in(summary);
    }
    Some((moved - begin, summaries))
}

#[test]
fn two_services_that_answer_each_other_are_silent_within_five_seconds() {
    // So slow a loop that a busy machine runs it too.
    let settings = ["udp.rate_per_source=0", "udp.loop_breaker_per_sec=100"];
    let Some((took, summaries)) = loop_between(&settings) else { return };
    assert!(took < Duration::from_secs(5), "{took:?}: {summaries:?}");
    let muted: u64 = summaries.iter().map(|summary| dropped(summary, "loop")).sum();
    assert_eq!(muted, 1, "the last of the loop: {summaries:?}");
}

#[test]
fn a_loop_gets_no_more_than_the_burst_and_the_rate_of_a_source() {
    let settings = ["udp.rate_per_source=100", "udp.loop_breaker_per_sec=0"];
    let Some((took, summaries)) = loop_between(&settings) else { return };
    let most = (100.0 * (1.0 + took.as_secs_f64())).ceil() as u64;
    for summary in &summaries {
        let [replied] = counts(summary, "datagrams", ["replied"]);
        assert!(replied <= most, "{replied} in {took:?}: {summary}");
    }
    let refused: u64 = summaries.iter().map(|summary| dropped(summary, "source_rate")).sum();
    assert_eq!(refused, 1, "the last of the loop: {summaries:?}");
}

#[test]
fn a_source_over_its_rate_costs_no_other_an_answer() {
    let Some((here, there)) = two_networks() else { return };
    let server = serving(&here, HERE, &["udp.rate_per_source=100"]);
    there.enter(|| {
        let (spoofer, light) = (Spoofer::new(), udp_client((HERE, PORT).into()));
        for round in 0..100 {
            // No more than the receive buffer holds: here the limits are tested alone.
            for _ in 0..128 {
                spoofer.send((Ipv4Addr::new(10, 80, 0, 1), 40_000), (HERE, PORT), b"flood");
            }
            barrier(&light, round);
        }
    });
    let done = server.terminate().expect_code(0);
    let summary = done.summary();
    // Beside the warning of the plan, which names it too.
    let named = done.stderr.lines().filter(|line| line.contains("source_rate"));
    assert!(named.clone().count() == 1 && named.clone().all(|it| it.contains("udp.rate_per")));
    let [received, replied] = counts(&summary, "datagrams", ["received", "replied"]);
    let refused = dropped(&summary, "source_rate");
    assert_eq!(received, replied + refused, "{summary}");
    assert!(refused > 10_000, "{summary}");
    expect_no_more_out_than_in(&summary);
}

#[test]
fn the_total_holds_for_all_sources_together() {
    let Some((here, there)) = two_networks() else { return };
    let server = serving(&here, HERE, &["udp.rate_total=50"]);
    let begin = Instant::now();
    there.enter(|| {
        let spoofer = Spoofer::new();
        for number in 0..200 {
            spoofer.send((Ipv4Addr::new(10, 80, 0, number), 40_000), (HERE, PORT), b"one each");
        }
    });
    let done = server.terminate().expect_code(0);
    let most = (50.0 * (1.0 + begin.elapsed().as_secs_f64())).ceil() as u64;
    let summary = done.summary();
    let [received, replied] = counts(&summary, "datagrams", ["received", "replied"]);
    assert_eq!((received, replied + dropped(&summary, "total_rate")), (200, 200), "{summary}");
    assert!((50..=most).contains(&replied), "{summary}");
    assert!(done.stderr.contains("udp.rate_total"), "{}", done.stderr);
}

#[test]
fn a_million_forged_sources_take_less_than_sixteen_megabytes() {
    let Some((here, there)) = two_networks() else { return };
    // The barriers are alike, and on a quiet machine more than a thousand a second.
    let server = serving(&here, HERE, &["udp.loop_breaker_per_sec=0"]);
    let (chunks, each, pid) = (7_813_u32, 128, server.pid());
    let grown = there.enter(|| {
        let (spoofer, client) = (Spoofer::new(), udp_client((HERE, PORT).into()));
        echo_udp(&client, b"barrier");
        let before = resident_kib(pid);
        for chunk in 0..chunks {
            for number in 0..each {
                let source = Ipv4Addr::from(0x0b00_0000 + chunk * each + number);
                spoofer.send((source, 40_000), (HERE, PORT), b"a source of its own");
            }
            // Waits for the flood: what the receive buffer cannot hold would not count.
            barrier(&client, chunk);
        }
        resident_kib(pid).saturating_sub(before)
    });
    let summary = server.terminate().expect_code(0).summary();
    // A busy machine's network may lose some.
    let [received] = counts(&summary, "datagrams", ["received"]);
    assert!(received > 900_000, "{summary}");
    assert_eq!(dropped(&summary, "source_rate"), 0, "each source sent one: {summary}");
    assert!(grown < 16 * 1024, "{grown} KiB");
}
