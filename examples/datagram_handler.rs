//! Datagrams of your own: a reflector that tells a sender when its test packet arrived
//! and left again, after the manner of STAMP (RFC 8762, unauthenticated).
//!
//! Question and answer have 44 bytes, so nobody can use the reflector to multiply what
//! they send: IPCow would not send a byte more than came in. Guards and rates hold before
//! the handler is asked.

use std::error::Error;
use std::net::UdpSocket;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ipcow::service::{Answers, Datagram, DatagramHandler, Service};

/// Length of a test packet either way. Unit: bytes.
const PACKET: usize = 44;
/// Seconds from the epoch of NTP, 1900, to that of Unix.
const NTP_TO_UNIX: u64 = 2_208_988_800;

/// Numbers its answers, whoever asks and on whatever thread.
#[derive(Default)]
struct Reflector {
    answered: AtomicU32,
}

impl DatagramHandler for Reflector {
    fn answer(&self, datagram: &Datagram<'_>, answers: &mut Answers<'_>) {
        let received = ntp_now();
        // What is no test packet gets no answer.
        let Ok(question) = <&[u8; PACKET]>::try_from(datagram.payload()) else { return };
        let mut answer = [0; PACKET];
        let number = self.answered.fetch_add(1, Ordering::Relaxed);
        answer[..4].copy_from_slice(&number.to_be_bytes());
        answer[4..12].copy_from_slice(&ntp_now().to_be_bytes());
        answer[16..24].copy_from_slice(&received.to_be_bytes());
        // The sender's own number, time and error estimate come back to it.
        answer[24..38].copy_from_slice(&question[..14]);
        answers.send(&answer);
    }
}

/// Seconds since 1900 in the upper half, their fraction in the lower.
fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let fraction = (u64::from(now.subsec_nanos()) << 32) / 1_000_000_000;
    ((now.as_secs() + NTP_TO_UNIX) << 32) | fraction
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let builder = Service::builder().listen("udp://127.0.0.1:0")?;
    let handle = builder.datagrams(Reflector::default()).build()?.start()?;
    let ready = handle.wait_ready().await?;

    // What follows is a client's part.
    let client = UdpSocket::bind("127.0.0.1:0")?;
    client.connect(ready.bound[0].socket_addr())?;
    client.set_read_timeout(Some(Duration::from_secs(10)))?;
    client.send(b"no test packet")?;
    for number in 0..3_u32 {
        let (mut question, mut answer) = ([0; PACKET], [0; PACKET]);
        question[..4].copy_from_slice(&number.to_be_bytes());
        let sent = ntp_now();
        question[4..12].copy_from_slice(&sent.to_be_bytes());
        client.send(&question)?;
        let length = client.recv(&mut answer)?;
        let field =
            |at: usize| u64::from_be_bytes(answer[at..at + 8].try_into().unwrap_or_default());
        let in_order = sent <= field(16) && field(16) <= field(4) && field(4) <= ntp_now();
        println!("packet {number}: {length} bytes, times in order: {in_order}");
    }

    let totals = handle.shutdown().await?.totals;
    println!("datagrams: {} received, {} answered", totals.received, totals.replied);
    println!("bytes: {} in, {} out", totals.udp_in, totals.udp_out);
    Ok(())
}
