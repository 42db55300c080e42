//! The answers of one batch, and what became of each.
//!
//! Datagrams in a row of one source, one dialled address and one length leave in one
//! piece, which the kernel cuts apart again (`UDP_SEGMENT`, udp(7)): the peer gets what
//! it sent, datagram for datagram. Never decides whether a datagram is answered.

use nix::errno::Errno;

use super::UdpTally;
use super::message::{self, Arrival};
use crate::net::bind::Bound;
use crate::net::sys::batch::{Answer, Batch};
use crate::supervision::DropReason;

/// Sends of one answer before it is given up: each earlier failure may have
/// been about another peer.
const SENDS_AN_ANSWER: usize = 3;

/// Longest datagram that leaves with others: what one frame of Ethernet takes. The
/// kernel cuts none that would have to be fragmented.
const MOST_JOINED: usize = 1472;

/// Most bytes of one piece, as of one datagram (RFC 768, RFC 791).
const MOST_BYTES: usize = 65_507;

/// What is to be sent for one batch.
#[derive(Default)]
pub(super) struct Replies {
    /// Places in the batch, in the order of their answers.
    places: Vec<usize>,
    answers: Vec<Answer>,
    /// Opened the last answer, which may still take others.
    open: Option<Arrival>,
}

impl Replies {
    /// Forgets the batch before.
    pub(super) fn clear(&mut self) {
        self.places.clear();
        self.answers.clear();
        self.open = None;
    }

    /// Adds an answer to what is sent.
    pub(super) fn push(&mut self, arrival: Arrival) {
        match (&self.open, self.answers.last_mut()) {
            (Some(first), Some(answer)) if joins(first, &arrival, answer.count) => {
                answer.count += 1;
                // A shorter one can only be the last.
                if arrival.length < first.length {
                    self.open = None;
                }
            }
            _ => {
                self.answers.push(arrival.answer(self.places.len()));
                self.open = Some(arrival);
            }
        }
        self.places.push(arrival.place);
    }

    /// Sends the answers in their order, and counts what became of each. Has a bit for
    /// each place of the batch that was answered.
    pub(super) fn send(&mut self, bound: &Bound, batch: &mut Batch, tally: &mut UdpTally) -> u64 {
        for answer in self.answers.iter_mut().filter(|answer| answer.count > 1) {
            let length = batch.length(self.places[answer.first]);
            message::cut(answer, u16::try_from(length).unwrap_or(u16::MAX));
        }
        let mut answered = 0;
        send(bound, batch, &self.places, &self.answers, tally, &mut answered);
        answered
    }
}

/// True where `next` may leave in one piece with `count` datagrams like `first`.
fn joins(first: &Arrival, next: &Arrival, count: usize) -> bool {
    (1..=first.length).contains(&next.length)
        && first.length <= MOST_JOINED
        && first.length * (count + 1) <= MOST_BYTES
        && first.returns_like(next)
}

/// Sends these answers of a batch in their order, and counts what became of each. Sets
/// a bit for each place that was answered.
pub(super) fn send(
    bound: &Bound,
    batch: &mut Batch,
    places: &[usize],
    mut answers: &[Answer],
    tally: &mut UdpTally,
    answered: &mut u64,
) {
    let mut failures = 0;
    while let Some(first) = answers.first() {
        match batch.send(bound, places, answers) {
            Ok(sent) => {
                // It never takes none without an error; if it did, this would not end.
                let (taken, rest) = answers.split_at(sent.clamp(1, answers.len()));
                let taken = taken.iter().flat_map(|it| &places[it.first..it.first + it.count]);
                for place in taken {
                    tally.replied += 1;
                    *answered |= 1 << (*place % 64);
                    tally.bytes_out += batch.length(*place) as u64;
                }
                answers = rest;
                failures = 0;
            }
            // Not each device and path takes several at once, and a failure must be
            // counted for the datagram that it is about.
            Err(_) if first.count > 1 => {
                send(bound, batch, places, &message::apart(first), tally, answered);
                answers = &answers[1..];
                failures = 0;
            }
            Err(errno) => {
                failures += 1;
                let reason = why_unsent(errno);
                // Only what may have been about an earlier answer is worth another try.
                if reason != DropReason::Unreachable || failures == SENDS_AN_ANSWER {
                    tally.drop_one(reason);
                    answers = &answers[1..];
                    failures = 0;
                }
            }
        }
    }
}

/// Why an answer could not be sent.
fn why_unsent(errno: Errno) -> DropReason {
    match errno {
        Errno::EAGAIN | Errno::ENOBUFS | Errno::ENOMEM => DropReason::SendBuffer,
        // What a socket without SO_BROADCAST hears when it sends to a subnet's
        // broadcast address (socket(7)).
        Errno::EACCES => DropReason::Broadcast,
        Errno::EMSGSIZE => DropReason::Oversize,
        _ => DropReason::Unreachable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_answer_is_counted_by_its_cause() {
        assert_eq!(why_unsent(Errno::EAGAIN), DropReason::SendBuffer);
        assert_eq!(why_unsent(Errno::EACCES), DropReason::Broadcast);
        assert_eq!(why_unsent(Errno::ENETUNREACH), DropReason::Unreachable);
    }
}
