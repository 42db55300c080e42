//! Many endpoints in a few words: `10.0.0.1:{22,80,443}`.
//!
//! Holds the form that people read; bounded in length and in memory, however
//! many endpoints come. Never meant to be parsed.

use super::port_set::{key, port};
use super::realm::Realm;
use super::{Endpoint, Port, Protocol};

/// Writes `endpoints` as a list of at most about `max_len` characters.
///
/// Neighbours are joined: `10.0.0.1-10.0.0.6:{22,8000-8010}`; UDP is marked by
/// `udp://`, port-0 endpoints are written `0` or `0xN`. What does not fit is
/// counted: `… and 17 more`. Joins best what comes in the order of an
/// [`EndpointSet`](super::EndpointSet).
pub fn compress(endpoints: impl IntoIterator<Item = Endpoint>, max_len: usize) -> String {
    // Every kept run takes at least two characters.
    let mut left = max_len / 2 + 1;
    let mut entries: Vec<Entry> = Vec::new();
    let mut more = 0_u64;
    for endpoint in endpoints {
        let (realm, number) = Realm::of(endpoint.address);
        let place = (endpoint.protocol, realm, number);
        let key = key(endpoint.port);
        let open = entries.last_mut().filter(|entry| entry.place() == place);
        if let Some(entry) = open {
            if entry.add(key, left > 0) {
                left -= usize::from(entry.grew);
            } else {
                more += 1;
            }
            continue;
        }
        join_last(&mut entries, &mut left);
        if left == 0 {
            more += 1;
            continue;
        }
        left -= 1;
        entries.push(Entry::new(place, key));
    }
    join_last(&mut entries, &mut left);
    write(&entries, max_len, more)
}

/// Addresses with the same runs of ports.
struct Entry {
    protocol: Protocol,
    realm: Realm,
    first: u128,
    last: u128,
    runs: Vec<(u64, u64)>,
    grew: bool,
}

impl Entry {
    fn new((protocol, realm, number): (Protocol, Realm, u128), key: u64) -> Self {
        let runs = vec![(key, key)];
        Self { protocol, realm, first: number, last: number, runs, grew: false }
    }

    fn place(&self) -> (Protocol, Realm, u128) {
        (self.protocol, self.realm, self.last)
    }

    /// False when the port needs a new run and there is no room for one.
    fn add(&mut self, key: u64, room: bool) -> bool {
        self.grew = false;
        match self.runs.last_mut() {
            Some(run) if run.1.checked_add(1) == Some(key) => run.1 = key,
            _ if !room => return false,
            _ => {
                self.runs.push((key, key));
                self.grew = true;
            }
        }
        true
    }

    fn len(&self) -> u64 {
        let ports = self.runs.iter().map(|run| run.1 - run.0 + 1).fold(0, u64::saturating_add);
        let addresses = u64::try_from(self.last - self.first).unwrap_or(u64::MAX);
        addresses.saturating_add(1).saturating_mul(ports)
    }
}

/// Joins the last entry to the one before, if only the address differs, by one.
fn join_last(entries: &mut Vec<Entry>, left: &mut usize) {
    let [.., before, last] = entries.as_mut_slice() else { return };
    if (before.protocol, before.realm) == (last.protocol, last.realm)
        && before.last.checked_add(1) == Some(last.first)
        && same_ports(&before.runs, &last.runs)
    {
        before.last = last.last;
        *left += last.runs.len();
        entries.pop();
    }
}

/// The ordinals of port-0 endpoints do not matter: each is written `0`.
fn same_ports(left: &[(u64, u64)], right: &[(u64, u64)]) -> bool {
    let shape = |run: &(u64, u64)| match port(run.0) {
        Port::Ephemeral(_) => (0, run.1 - run.0),
        Port::Number(_) => *run,
    };
    left.iter().map(shape).eq(right.iter().map(shape))
}

fn write(entries: &[Entry], max_len: usize, mut more: u64) -> String {
    let mut out = String::new();
    let mut full = false;
    for entry in entries {
        let text = entry_text(entry, max_len.saturating_sub(out.len()));
        match text {
            Some((text, left_out)) if !full => {
                if !out.is_empty() {
                    out.push_str(", ");
                }
                out.push_str(&text);
                full = left_out > 0;
                more = more.saturating_add(left_out);
            }
            _ => {
                full = true;
                more = more.saturating_add(entry.len());
            }
        }
    }
    if more > 0 {
        if !out.is_empty() {
            out.push(' ');
        }
        out.push_str(&format!("… and {more} more"));
    }
    out
}

/// The entry in at most about `room` characters, and how many endpoints that
/// leaves out; `None` when not even one run fits.
fn entry_text(entry: &Entry, room: usize) -> Option<(String, u64)> {
    let scheme = if entry.protocol == Protocol::Udp { "udp://" } else { "" };
    let mut text = format!("{scheme}{}", entry.realm.address(entry.first));
    if entry.first < entry.last {
        text.push_str(&format!("-{}", entry.realm.address(entry.last)));
    }
    let runs: Vec<String> = entry.runs.iter().map(run_text).collect();
    let mut fit = 0;
    let mut len = text.len() + 3;
    for run in &runs {
        len += run.len() + 1;
        if len > room {
            break;
        }
        fit += 1;
    }
    if fit == 0 {
        return None;
    }
    let braces = runs.len() > 1 || runs[0].contains(',');
    text.push_str(if braces { ":{" } else { ":" });
    text.push_str(&runs[..fit].join(","));
    if fit < runs.len() {
        text.push_str(",…");
    }
    if braces {
        text.push('}');
    }
    let addresses = u64::try_from(entry.last - entry.first).unwrap_or(u64::MAX).saturating_add(1);
    let left_out: u64 = entry.runs[fit..].iter().map(|run| run.1 - run.0 + 1).sum();
    Some((text, addresses.saturating_mul(left_out)))
}

fn run_text(run: &(u64, u64)) -> String {
    match (port(run.0), port(run.1)) {
        (Port::Number(first), Port::Number(last)) if first == last => first.to_string(),
        // Two ports read better as two.
        (Port::Number(first), Port::Number(last)) if first + 1 == last => format!("{first},{last}"),
        (Port::Number(first), Port::Number(last)) => format!("{first}-{last}"),
        _ if run.0 == run.1 => "0".to_owned(),
        _ => format!("0x{}", run.1 - run.0 + 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Address;

    fn endpoints(protocol: Protocol, ip: &str, ports: &[u16]) -> Vec<Endpoint> {
        let address = Address::new(ip.parse().expect("an address"));
        let port = |port: &u16| Endpoint { protocol, address, port: Port::Number(*port) };
        ports.iter().map(port).collect()
    }

    #[test]
    fn the_ports_of_one_address_stand_in_braces() {
        let list = endpoints(Protocol::Tcp, "10.0.0.1", &[22, 80, 443]);
        assert_eq!(compress(list, 100), "10.0.0.1:{22,80,443}");
        assert_eq!(compress(endpoints(Protocol::Tcp, "::1", &[22]), 100), "[::1]:22");
        assert_eq!(compress(Vec::new(), 100), "");
    }

    #[test]
    fn neighbouring_ports_and_addresses_become_ranges() {
        let ports: Vec<u16> = (8000..=8010).collect();
        let mut list = endpoints(Protocol::Tcp, "10.0.0.1", &ports);
        list.extend(endpoints(Protocol::Tcp, "10.0.0.2", &ports));
        list.extend(endpoints(Protocol::Tcp, "10.0.0.9", &[1, 2, 8000]));
        list.extend(endpoints(Protocol::Udp, "10.0.0.9", &[53, 54]));
        assert_eq!(
            compress(list, 200),
            "10.0.0.1-10.0.0.2:8000-8010, 10.0.0.9:{1,2,8000}, udp://10.0.0.9:{53,54}"
        );
    }

    #[test]
    fn ports_of_the_kernels_choice_are_written_as_in_a_spec() {
        let address = Address::new("10.0.0.1".parse().expect("an address"));
        let port =
            |ordinal| Endpoint { protocol: Protocol::Tcp, address, port: Port::Ephemeral(ordinal) };
        assert_eq!(compress([port(7)], 100), "10.0.0.1:0");
        assert_eq!(compress([port(7), port(8), port(9)], 100), "10.0.0.1:0x3");
    }

    #[test]
    fn what_does_not_fit_is_counted_exactly() {
        let odd: Vec<u16> = (0..30_000).map(|port| 2 * port + 1).collect();
        let list = endpoints(Protocol::Tcp, "10.0.0.1", &odd);
        let text = compress(list, 30);
        assert_eq!(text, "10.0.0.1:{1,3,5,7,9,11,13,15,…} … and 29992 more");
        let many =
            (1..=200).flat_map(|host| endpoints(Protocol::Tcp, &format!("10.0.0.{host}"), &[host]));
        let text = compress(many, 40);
        assert_eq!(text, "10.0.0.1:1, 10.0.0.2:2, 10.0.0.3:3 … and 197 more");
    }

    #[test]
    fn a_million_neighbours_take_one_line() {
        let many = (0..1_000_000_u32).map(|number| Endpoint {
            protocol: Protocol::Tcp,
            address: std::net::Ipv4Addr::from(0x0a00_0000 + number / 1000).into(),
            port: Port::Number(8000 + u16::try_from(number % 1000).expect("below 1000")),
        });
        assert_eq!(compress(many, 80), "10.0.0.0-10.0.3.231:8000-8999");
    }
}
