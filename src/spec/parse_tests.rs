//! Claims about the language: every form, and every fault with its place.

use proptest::prelude::*;

use super::address_item::AddressItem;
use super::parse::Transport;
use super::port_item::PortItem;
use super::{PartsList, Protocol, Spec, SpecError};

fn fault(text: &str) -> SpecError {
    match Spec::parse(text) {
        Ok(spec) => panic!("{text} was read as {spec:?}"),
        Err(fault) => fault,
    }
}

/// What the caret line marks.
fn marked(text: &str) -> String {
    let fault = fault(text);
    text[fault.span].to_owned()
}

fn addresses(text: &str) -> Vec<(bool, AddressItem)> {
    let spec = Spec::parse(&format!("{text}:80")).expect("a good spec");
    spec.addresses.into_iter().map(|item| (item.excluded, item.what)).collect()
}

fn block(first: &str, last: &str, zone: Option<&str>) -> AddressItem {
    AddressItem::Block {
        first: first.parse().expect("an address"),
        last: last.parse().expect("an address"),
        zone: zone.map(Into::into),
    }
}

#[test]
fn every_form_of_an_address_is_read() {
    for (text, item) in [
        ("127.0.0.1", block("127.0.0.1", "127.0.0.1", None)),
        ("10.0.0.0/29", block("10.0.0.0", "10.0.0.7", None)),
        ("0.0.0.0/0", block("0.0.0.0", "255.255.255.255", None)),
        ("10.0.0.1/32", block("10.0.0.1", "10.0.0.1", None)),
        ("10.0.0.1-10.0.1.2", block("10.0.0.1", "10.0.1.2", None)),
        ("10.0.0-3.1-254", AddressItem::Octets([(10, 10), (0, 0), (0, 3), (1, 254)])),
        ("10.0.0.1-5", AddressItem::Octets([(10, 10), (0, 0), (0, 0), (1, 5)])),
        ("if:eth0", AddressItem::Interface("eth0".into())),
        ("if:eth0:1", AddressItem::Interface("eth0:1".into())),
        ("localhost", AddressItem::Host("localhost".into())),
        ("a-1.example.com.", AddressItem::Host("a-1.example.com".into())),
        ("@/etc/list", AddressItem::File("/etc/list".into())),
        ("@a://b", AddressItem::File("a://b".into())),
        ("*", AddressItem::Any),
        ("", AddressItem::Any),
        ("[::1]", block("::1", "::1", None)),
        ("[2001:db8::/120]", block("2001:db8::", "2001:db8::ff", None)),
        ("[2001:db8::]/120", block("2001:db8::", "2001:db8::ff", None)),
        ("[::1-::5]", block("::1", "::5", None)),
        ("[::1]-[::5]", block("::1", "::5", None)),
        ("[fe80::1%eth0]", block("fe80::1", "fe80::1", Some("eth0"))),
        ("[fe80::1%veth-a]", block("fe80::1", "fe80::1", Some("veth-a"))),
        ("[fe80::%eth0/120]", block("fe80::", "fe80::ff", Some("eth0"))),
        ("[fe80::/120%eth0]", block("fe80::", "fe80::ff", Some("eth0"))),
        ("[fe80::1-fe80::5%eth0]", block("fe80::1", "fe80::5", Some("eth0"))),
        ("[::/0]", block("::", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", None)),
        ("[::ffff:10.0.0.1]", block("::ffff:10.0.0.1", "::ffff:10.0.0.1", None)),
    ] {
        assert_eq!(addresses(text), [(false, item.clone())], "{text}");
        if !text.is_empty() {
            let excluded = addresses(&format!("127.0.0.1,!{text}"));
            assert_eq!(excluded[1], (true, item), "!{text}");
        }
    }
}

#[test]
fn items_of_both_families_stand_in_one_list() {
    let items = addresses("[::1], 127.0.0.1,!if:lo");
    assert_eq!(items.len(), 3);
    assert_eq!(items[2], (true, AddressItem::Interface("lo".into())));
}

#[test]
fn the_protocol_is_tcp_unless_one_is_written() {
    for (text, transport) in [
        ("127.0.0.1:80", Transport::Tcp),
        ("tcp://127.0.0.1:80", Transport::Tcp),
        ("udp://[::1]:80", Transport::Udp),
        ("both://*:80", Transport::Both),
        ("tcp://:80", Transport::Tcp),
        ("!127.0.0.1:80", Transport::Tcp),
        ("!both://127.0.0.1:80", Transport::Both),
    ] {
        let spec = Spec::parse(text).expect("a good spec");
        assert_eq!(spec.transport, transport, "{text}");
        assert_eq!(spec.is_exclusion(), text.starts_with('!'), "{text}");
        assert_eq!(spec.to_string(), text);
    }
}

#[test]
fn the_examples_of_the_contract_are_read() {
    for text in [
        "tcp://127.0.0.0/29,!127.0.0.3:8000-8010,!8005",
        "tcp://*:*,!22,!in-use,!ephemeral",
        "tcp://[::1]:80",
        "[2001:db8::/120]:1-10",
        "[fe80::1%eth0]:80",
        "both://127.0.1.0/29,!127.0.1.3:18000-18999,!18500",
    ] {
        assert!(Spec::parse(text).is_ok(), "{text}");
    }
}

#[test]
fn the_caret_stands_exactly_under_the_faulty_token() {
    for (text, token) in [
        ("tcp://127.0.0.1:80x", "80x"),
        ("127.0.0.1:22,65536", "65536"),
        ("127.0.0.1:-1", "-1"),
        ("127.0.0.1:90-80,100", "90-80"),
        ("127.0.0.1:80-90x", "90x"),
        ("127.0.0.1:1,,2", ""),
        ("127.0.0.1:80,!", "!"),
        ("127.0.0.1:!22", "!22"),
        ("127.0.0.1:*,!!22", "!!22"),
        ("10.0.0.256:80", "10.0.0.256"),
        ("10.0.0:80", "10.0.0"),
        ("10.0.0.01:80", "10.0.0.01"),
        ("[::1],10.0.0.256,127.0.0.1:80", "10.0.0.256"),
        ("10.0.0.1/29:80", "10.0.0.1/29"),
        ("10.0.0.0/33:80", "33"),
        ("10.0.0.0/:80", ""),
        ("10.0.0.0/+8:80", "+8"),
        ("10.0.0.300/24:80", "10.0.0.300"),
        ("10.0.0.9-10.0.0.1:80", "10.0.0.9-10.0.0.1"),
        ("10.0.0.1-10.0.0.256:80", "10.0.0.256"),
        ("10.0.0.1-[::5]:80", "10.0.0.1-[::5]"),
        ("[::1]-10.0.0.5:80", "-10.0.0.5"),
        ("10.0.3-0.1:80", "3-0"),
        ("10.0.0-256.1:80", "256"),
        ("10.0.-3.1:80", ""),
        ("::1:80", "::1:80"),
        ("::1,127.0.0.1:80", "::1"),
        ("[::1:80", "[::1"),
        ("::1]:80", "::1]"),
        ("[10.0.0.1]:80", "10.0.0.1"),
        ("[::1]x:80", "x"),
        ("[2001:db8::1/120]:80", "2001:db8::1/120"),
        ("[2001:db8::1]/120:80", "[2001:db8::1]/120"),
        ("[2001:db8::/129]:80", "129"),
        ("[::5-::1]:80", "::5-::1"),
        ("[::1%lo]:80", "::1%lo"),
        ("[fe80::1%]:80", "fe80::1%"),
        ("[fe80::1%a-very-long-name]:80", "a-very-long-name"),
        ("if::80", "if:"),
        ("if:a-very-long-name:80", "a-very-long-name"),
        ("@:80", "@"),
        ("exa mple:80", " "),
        ("ex\u{e4}mple:80", "\u{e4}"),
        ("-a.example:80", "-a.example"),
        ("a..b:80", "a..b"),
        ("example.1:80", "example.1"),
        ("0x7f000001:80", "0x7f000001"),
        ("127.0.0.1:80:90", ":"),
        ("http://127.0.0.1:80", "http"),
        ("://127.0.0.1:80", ""),
        ("!!127.0.0.1:80", "!127.0.0.1"),
        ("!!tcp://127.0.0.1:80", "!"),
        ("!127.0.0.1:0", "0"),
        ("127.0.0.1:80,!0", "0"),
    ] {
        assert_eq!(marked(text), token, "{text}: {}", fault(text));
    }
}

#[test]
fn missing_ports_are_marked_at_the_end() {
    for text in ["127.0.0.1", "127.0.0.1:", "[::1]", "tcp://if:eth0", "!if:eth0", "tcp://"] {
        let fault = fault(text);
        assert_eq!(fault.span, text.len()..text.len(), "{text}");
        assert!(fault.message.contains("ports"), "{text}: {fault}");
    }
}

#[test]
fn a_fault_says_how_to_fix_it() {
    for (text, help) in [
        ("10.0.0.9/29:80", "10.0.0.8/29"),
        ("[2001:db8::1/120]:80", "2001:db8::/120"),
        ("10.0.0.1:!22", "*,!22"),
        ("10.0.0.1:90-80", "80-90"),
        ("2001:db8::1,10.0.0.1:80", "[2001:db8::1]"),
        ("2001:db8::1", "[2001:db8::1]:PORTS"),
        ("10.0.0.9-10.0.0.1:80", "10.0.0.1-10.0.0.9"),
    ] {
        let help_given = fault(text).help.unwrap_or_default();
        assert!(help_given.contains(help), "{text}: {help_given}");
    }
}

#[test]
fn a_list_of_exclusions_only_is_refused_with_a_hint() {
    let fault = fault("tcp://!10.0.0.1,!10.0.0.2:80");
    assert_eq!(fault.span, 6..25);
    assert!(fault.help.is_some_and(|help| help.contains("*,!10.0.0.1,!10.0.0.2")));
}

#[test]
fn a_list_has_a_bounded_number_of_items() {
    let most = ["1"; 100_000].join(",");
    assert!(Spec::parse(&format!(":{most}")).is_ok());
    assert!(fault(&format!(":{most},1")).message.contains("100000"));
}

#[test]
fn the_lists_of_a_table_give_the_spec_of_the_same_text() {
    let spec = Spec::from_parts(
        &["127.0.0.0/29", "!127.0.0.3, [::1]"],
        &["8000-8010", "!8005", "9000"],
        &[Protocol::Tcp, Protocol::Udp],
    )
    .expect("good lists");
    assert_eq!(spec.to_string(), "both://127.0.0.0/29,!127.0.0.3, [::1]:8000-8010,!8005,9000");
    assert_eq!(Spec::parse(&spec.to_string()), Ok(spec.clone()));
    assert_eq!(spec.ports[1].what, PortItem::Range(8005, 8005));
    assert_eq!(&spec.text[spec.ports[1].span.clone()], "!8005");
}

#[test]
fn a_faulty_item_of_a_table_is_named_by_list_and_index() {
    let parts = |addresses: &[&str], ports: &[&str], protocols: &[Protocol]| {
        let refused = Spec::from_parts(addresses, ports, protocols).expect_err("a fault");
        (refused.list, refused.index, refused.error.text.clone(), refused.error.span)
    };
    let tcp = [Protocol::Tcp];
    assert_eq!(
        parts(&["127.0.0.1", "[::1],10.0.0.256"], &["80"], &tcp),
        (PartsList::Addresses, 1, "[::1],10.0.0.256".to_owned(), 6..16)
    );
    assert_eq!(
        parts(&["127.0.0.1"], &["80", "90", "80x"], &tcp),
        (PartsList::Ports, 2, "80x".to_owned(), 0..3)
    );
    assert_eq!(
        parts(&["!127.0.0.1"], &["80"], &tcp),
        (PartsList::Addresses, 0, "!127.0.0.1".to_owned(), 0..10)
    );
    assert_eq!(parts(&[""], &["80"], &tcp), (PartsList::Addresses, 0, String::new(), 0..0));
    assert_eq!(parts(&[], &["80"], &tcp).0, PartsList::Addresses);
    assert_eq!(parts(&["*"], &[], &tcp).0, PartsList::Ports);
    assert_eq!(parts(&["*"], &["1"], &[]).0, PartsList::Protocols);
}

proptest! {
    #[test]
    fn no_text_makes_the_parser_panic(text in any::<String>()) {
        if let Err(refused) = Spec::parse(&text) {
            prop_assert_eq!(refused.caret().lines().count(), 2);
            prop_assert!(text.get(refused.span).is_some());
        }
    }

    #[test]
    fn no_mixture_of_the_languages_own_pieces_makes_the_parser_panic(
        pieces in prop::collection::vec(
            prop::sample::select(vec![
                "!", ",", ":", "-", "/", "%", "[", "]", "*", "@", ".", "0", "1", "255", "65536",
                "0x", "::", "::1", "fe80::", "10.0.0.1", "10.0.0.0", "24", "if:", "eth0", "tcp://",
                "both://", "in-use", "ephemeral", "a", " ", "\u{e4}", "\u{0}",
            ]),
            0..12,
        ),
    ) {
        let text = pieces.concat();
        match Spec::parse(&text) {
            Err(refused) => {
                prop_assert_eq!(refused.caret().lines().count(), 2);
                prop_assert!(text.get(refused.span).is_some());
            }
            Ok(spec) => {
                prop_assert!(spec.addresses.iter().all(|item| text.get(item.span.clone()).is_some()));
                prop_assert!(spec.ports.iter().all(|item| text.get(item.span.clone()).is_some()));
            }
        }
    }
}
