//! What can be judged of a plan without asking the machine.
//!
//! Builds the plan and answers no question. A fault that an answer could have
//! changed is nobody's fault yet; any other is one on every machine.

use std::cell::Cell;
use std::net::IpAddr;

use super::error::PlanError;
use super::{PlanEndpoints, build};
use crate::config::Config;
use crate::spec::{Address, Protocol, Resolver};

/// Refuses what no machine could serve: too many endpoints or none, a wildcard
/// beside an address, groups that contradict each other.
///
/// Specs that name hosts, interfaces, files or ports of the machine are not
/// judged, nor is what depends on them.
///
/// # Errors
/// As [`build()`].
pub fn check(config: &Config) -> Result<(), PlanError> {
    let machine = Unasked::default();
    let built = build(&config.groups, &config.excludes, config.limits.max_endpoints, &machine);
    match built {
        Err(error) if !machine.asked.get() => Err(error),
        _ => Ok(()),
    }
}

/// The plan as it is on any machine; `None` where a machine must be asked, or
/// where none could serve it.
#[must_use]
pub fn known(config: &Config) -> Option<PlanEndpoints> {
    let machine = Unasked::default();
    let built = build(&config.groups, &config.excludes, config.limits.max_endpoints, &machine);
    built.ok().filter(|_| !machine.asked.get())
}

/// Knows nothing, and that it was asked.
#[derive(Debug, Default)]
struct Unasked {
    asked: Cell<bool>,
}

impl Unasked {
    fn unknown<T>(&self) -> Result<T, String> {
        self.asked.set(true);
        Err("the machine is not asked".to_owned())
    }
}

impl Resolver for Unasked {
    fn interface(&self, _: &str) -> Result<Vec<Address>, String> {
        self.unknown()
    }

    fn host(&self, _: &str) -> Result<Vec<IpAddr>, String> {
        self.unknown()
    }

    fn file(&self, _: &str) -> Result<String, String> {
        self.unknown()
    }

    fn zone(&self, _: &str) -> Option<u32> {
        self.asked.set(true);
        None
    }

    fn ports_in_use(&self, _: Protocol) -> Result<Vec<u16>, String> {
        self.unknown()
    }

    fn ephemeral_ports(&self) -> Result<(u16, u16), String> {
        self.unknown()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::load_str;

    fn fault(specs: &str) -> Option<String> {
        let text = format!("[[listen]]\nname = \"lab\"\nspec = [{specs}]");
        let config = load_str("test.toml", &text).expect("legal text").config;
        check(&config).err().map(|error| error.to_string())
    }

    #[test]
    fn what_no_machine_could_serve_is_refused() {
        for (specs, why) in [
            (r#""[::/0]:*""#, "limits.max_endpoints"),
            (r#""127.0.0.1:80,!80""#, "leaves no port"),
            (r#""127.0.0.1:80", "!127.0.0.1:80""#, "leaves no endpoint"),
            (r#""0.0.0.0:80", "127.0.0.1:80""#, "takes port 80 on every address"),
        ] {
            assert!(fault(specs).is_some_and(|fault| fault.contains(why)), "{specs}");
        }
    }

    #[test]
    fn endpoints_are_counted_unless_a_machine_must_be_asked() {
        let counted = |specs: &str| {
            let text = format!("[[listen]]\nname = \"lab\"\nspec = [{specs}]");
            let config = load_str("test.toml", &text).expect("legal text").config;
            known(&config).map(|endpoints| endpoints.len())
        };
        assert_eq!(counted(r#""both://127.0.0.0/29:80-89,!85""#), Some(8 * 9 * 2));
        assert_eq!(counted(r#""127.0.0.1:80", "localhost:81""#), None);
        assert_eq!(counted(r#""127.0.0.1:80,!80""#), None);
    }

    #[test]
    fn what_only_a_machine_can_tell_is_not_refused() {
        for specs in [
            r#""no-such-host.invalid:80""#,
            r#""if:none0:80""#,
            r#""@/no/such/file:80""#,
            r#""[fe80::1%none0]:80""#,
            r#""*:*,!in-use,!ephemeral""#,
        ] {
            assert_eq!(fault(specs), None, "{specs}");
        }
    }
}
