//! Any body for any route of the control API that takes one: an order, or a refusal that
//! says why.
//!
//! A refusal has a status of the client's, a code, a message and a hint, and no control
//! character. What is read twice is read alike. Input: the first byte chooses the route.
#![no_main]

use ipcow::control::{Order, OrderKind};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Some((which, body)) = bytes.split_first() else { return };
    let kind = OrderKind::ALL[usize::from(*which) % OrderKind::ALL.len()];
    let read = Order::parse(kind, body);
    assert_eq!(read, Order::parse(kind, body), "it is read alike");
    let Err(refusal) = read else { return };
    assert!((400..500).contains(&refusal.status), "{refusal:?}");
    for text in [refusal.code, &refusal.message, &refusal.hint] {
        assert!(!text.is_empty(), "{refusal:?}");
        assert!(!text.chars().any(|it| it.is_control() && it != '\n'), "{refusal:?}");
        assert!(text.len() <= 20_000, "{} bytes", text.len());
    }
});
