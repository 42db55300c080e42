//! Rates and loops in virtual time: seconds of floods in microseconds.

use std::net::Ipv4Addr;
use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use super::*;

/// Limits by key: for each source, for all, for one datagram.
fn limits(per_source: u32, total: u32, alike: u32) -> SourceLimits {
    let [rate_per_source, rate_total, loop_breaker_per_sec] =
        [per_source, total, alike].map(NonZeroU32::new);
    let others = config::Udp::default();
    let udp = config::Udp { rate_per_source, rate_total, loop_breaker_per_sec, ..others };
    SourceLimits::new(&udp, RandomState::new(), Instant::now())
}

/// A source of a number, each in a /32 of its own.
fn source(number: u32) -> SocketAddr {
    (Ipv4Addr::from(0x0a00_0000 + number), 40_000).into()
}

impl SourceLimits {
    fn at(&self, micros: u64, source: SocketAddr, payload: &[u8]) -> Option<DropReason> {
        self.refuses(source, payload, self.began + Duration::from_micros(micros))
    }

    fn remembered(&self) -> usize {
        self.parts.iter().map(|part| lock(part).as_ref().map_or(0, |it| it.sources.len())).sum()
    }
}

proptest! {
    #[test]
    fn no_source_is_answered_more_than_its_burst_and_its_rate(
        rate in 1_u32..50,
        sent in proptest::collection::vec((0_u32..4, 0_u64..200_000), 1..400),
    ) {
        let limits = limits(rate, 0, 0);
        let (mut now, mut answered) = (0, vec![Vec::new(); 4]);
        for (number, pause) in sent {
            now += pause;
            if limits.at(now, source(number), b"").is_none() {
                answered[number as usize].push(now);
            }
        }
        for times in answered {
            for first in 0..times.len() {
                for last in first..times.len() {
                    let most = f64::from(rate) * (1.0 + (times[last] - times[first]) as f64 / 1e6);
                    prop_assert!((last - first) as f64 <= most, "{first} to {last} of {times:?}");
                }
            }
        }
    }

    #[test]
    fn who_keeps_to_the_rate_is_never_refused_whatever_others_send(
        rate in 1_u64..1000,
        others in proptest::collection::vec((1_u32..100_000, 0_u64..3), 1..3000),
    ) {
        let limits = limits(rate as u32, 0, 1000);
        let each = 1_000_000_u64.div_ceil(rate);
        let (mut now, mut due) = (0, 0);
        for (other, pause) in others {
            now += pause * 1000;
            limits.at(now, source(other), b"noise");
            if now >= due {
                prop_assert_eq!(limits.at(now, source(0), &now.to_ne_bytes()), None);
                due = now + each;
            }
        }
    }
}

#[test]
fn a_flood_of_forged_sources_fills_a_table_of_fixed_size_and_frees_no_one_from_its_rate() {
    let limits = limits(1000, 0, 0);
    let (heavy, light) = (source(9_000_001), source(9_000_002));
    let mut heavy_answered = 0;
    for number in 0..300_000_u32 {
        // Two million forged a second, of which one in two is the same source.
        let now = u64::from(number);
        limits.at(now, source(number), b"forged");
        heavy_answered += u32::from(limits.at(now, heavy, b"more and more").is_none());
        if number % 100_000 == 0 {
            assert_eq!(limits.at(now, light, b"ten a second"), None);
        }
    }
    assert!(limits.remembered() <= MOST_SOURCES, "{}", limits.remembered());
    assert!(limits.remembered() > MOST_SOURCES * 9 / 10, "{}", limits.remembered());
    assert!((1000..=1300).contains(&heavy_answered), "{heavy_answered}");
}

#[test]
fn all_sources_together_get_no_more_than_the_total_and_the_refused_take_nothing_of_it() {
    let limits = limits(10, 100, 0);
    // One source is refused by its own rate, so it leaves 90 for the others.
    let greedy = (0..1000).filter(|_| limits.at(0, source(0), b"").is_none()).count();
    let others = (1..1000).filter(|number| limits.at(0, source(*number), b"").is_none()).count();
    assert_eq!((greedy, others), (10, 90));
    assert_eq!(limits.at(0, source(0), b""), Some(DropReason::SourceRate));
    assert_eq!(limits.at(0, source(5000), b""), Some(DropReason::TotalRate));
    assert_eq!(limits.at(10_000, source(5000), b""), None, "one fits after a hundredth");
}

#[test]
fn one_network_of_ipv6_is_one_source() {
    let limits = limits(2, 0, 0);
    let at = |text: &str| limits.at(0, text.parse().expect("an address"), b"");
    assert_eq!(at("[2001:db8::1]:1000"), None);
    assert_eq!(at("[2001:db8::ffff:2]:2000"), None);
    assert_eq!(at("[2001:db8::3]:3000"), Some(DropReason::SourceRate));
    assert_eq!(at("[2001:db8:0:1::3]:3000"), None, "the next /64");
    assert_eq!(at("192.0.2.1:1"), None);
    assert_eq!(at("[::ffff:192.0.2.1]:1"), None);
    assert_eq!(at("192.0.2.1:2"), Some(DropReason::SourceRate), "the same, mapped");
}

#[test]
fn loopback_has_no_rate_and_no_loops_but_counts_in_the_total() {
    let limits = limits(1, 3000, 1);
    let client = "127.0.0.1:4000".parse().expect("an address");
    for number in 0..3000 {
        assert_eq!(limits.at(number, client, b"again"), None);
    }
    assert_eq!(limits.at(3000, client, b"again"), None, "three came back in a millisecond");
    let unlimited = self::limits(1, 0, 1);
    assert!(!unlimited.judges(client) && unlimited.judges(source(1)));
    assert!(!self::limits(0, 0, 0).judges(source(1)));
}

/// Sends `payload(n)` that often a second from `from` for `seconds`; when it was first refused
/// as a loop, in microseconds.
fn sent(
    limits: &SourceLimits,
    (from, begin, seconds): (SocketAddr, u64, u64),
    a_second: u64,
    payload: impl Fn(u64) -> u64,
) -> Option<u64> {
    (0..a_second * seconds).find_map(|number| {
        let now = begin * 1_000_000 + number * 1_000_000 / a_second;
        let refused = limits.at(now, from, &payload(number).to_ne_bytes());
        assert!(matches!(refused, None | Some(DropReason::Loop)), "{refused:?}");
        refused.map(|_| now)
    })
}

#[test]
fn one_datagram_again_and_again_mutes_its_socket_for_a_minute() {
    let limits = limits(0, 0, 1000);
    for a_second in [1_100, 5_000, 23_000] {
        let from = source(a_second as u32);
        let muted = sent(&limits, (from, 100, 5), a_second, |_| 7).expect("it is a loop");
        assert!((102_000_000..=103_100_000).contains(&muted), "{a_second}: {muted}");
        assert_eq!(limits.at(muted + 1, from, b"anything"), Some(DropReason::Loop));
        assert_eq!(limits.at(muted + 59_999_999, from, b"anything"), Some(DropReason::Loop));
        assert_eq!(limits.at(muted + 1, SocketAddr::new(from.ip(), 1), b"anything"), None);
        assert_eq!(limits.at(muted + 60_000_000, from, b"anything"), None);
    }
}

#[test]
fn several_datagrams_that_go_round_at_once_are_a_loop_too() {
    let limits = limits(0, 0, 1000);
    assert!(sent(&limits, (source(1), 0, 5), 3_300, |number| number % 3).is_some());
}

#[test]
fn slower_shorter_or_different_is_no_loop() {
    let limits = limits(0, 0, 1000);
    assert_eq!(sent(&limits, (source(1), 0, 30), 990, |_| 7), None, "slower");
    assert_eq!(sent(&limits, (source(2), 0, 20), 9_000, |number| number), None, "different");
    for begin in [0, 4, 8] {
        assert_eq!(
            sent(&limits, (source(3), begin, 2), 9_000, |_| 7),
            None,
            "two seconds, shorter"
        );
    }
    let off = self::limits(0, 0, 0);
    assert_eq!(sent(&off, (source(1), 0, 5), 9_000, |_| 7), None, "off");
}

#[test]
fn a_loop_is_found_beneath_a_flood_of_forged_sources() {
    let limits = limits(10_000, 0, 1000);
    let mut forged = 0;
    let muted = (0..8_000_u64).find(|number| {
        let now = number * 500;
        for _ in 0..50 {
            forged += 1;
            limits.at(now, source(forged), b"forged");
        }
        limits.at(now, source(9_000_001), b"round and round") == Some(DropReason::Loop)
    });
    let seconds = muted.expect("it is a loop") / 2000;
    assert!(seconds <= 3, "{seconds} s, with {forged} forged");
    let forged_more = |number: u32| limits.at(4_000_000, source(9_100_000 + number), b"forged");
    assert_eq!((0..100_000).filter_map(forged_more).count(), 0);
    let looped = limits.at(4_000_001, source(9_000_001), b"round and round");
    assert_eq!(looped, Some(DropReason::Loop), "a mute outlives a flood");
}
