//! Loopback addresses that belong to one test alone.
//!
//! All of 127.0.0.0/8 is local, so each test gets eight addresses of its own and may
//! name fixed ports on them: parallel tests, and parallel runs of the whole suite,
//! never meet. Ports stay below 32768, where no client's source port can be.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, UdpSocket};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use super::eventually;

/// Eight consecutive loopback addresses, aligned, for one test.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Block {
    base: Ipv4Addr,
}

impl Block {
    /// A block that no other test of any running suite holds.
    pub(crate) fn new() -> Self {
        static NEXT: AtomicU32 = AtomicU32::new(1);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        assert!(number < 8_000, "a process has 8,000 blocks");
        let base = u32::from(Ipv4Addr::new(127, network(), 0, 0)) + number * 8;
        Self { base: Ipv4Addr::from(base) }
    }

    /// Address `index` (0 to 7) of the block.
    pub(crate) fn ip(&self, index: u32) -> Ipv4Addr {
        assert!(index < 8);
        Ipv4Addr::from(u32::from(self.base) + index)
    }

    /// The block as a CIDR.
    pub(crate) fn cidr(&self) -> String {
        format!("{}/29", self.base)
    }

    /// The first address with that port.
    pub(crate) fn at(&self, port: u16) -> SocketAddr {
        (self.base, port).into()
    }
}

/// Asserts that these addresses are free for both protocols: within seconds, since what
/// another test starts holds every socket of this process from its fork to its exec.
pub(crate) fn assert_free(addresses: impl IntoIterator<Item = SocketAddr>) {
    for at in addresses {
        let free = || TcpListener::bind(at).is_ok() && UdpSocket::bind(at).is_ok();
        assert!(eventually(Duration::from_secs(5), free), "{at} is not free");
    }
}

/// The second octet, which a listening socket claims for the life of this process.
fn network() -> u8 {
    static CLAIM: OnceLock<(u8, TcpListener)> = OnceLock::new();
    CLAIM
        .get_or_init(|| {
            let first = std::process::id() % 250;
            (0..250)
                .map(|step| 2 + u8::try_from((first + step) % 250).expect("below 250"))
                .find_map(|octet| {
                    let claim = Ipv4Addr::new(127, octet, 255, 254);
                    Some((octet, TcpListener::bind((claim, 31_999)).ok()?))
                })
                .expect("one of 250 loopback networks is free")
        })
        .0
}
