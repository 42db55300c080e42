//! The admin address is not served: it is taken out of a plan that covers it.

use std::net::{IpAddr, SocketAddr};

use super::{PlanEndpoints, PlanError, build};
use crate::config::Group;
use crate::spec::{Endpoint, Port, Protocol, Resolver, Spec};

/// As [`build`], less what would take `admin` away from the admin address: the endpoint
/// itself, and the wildcard of its family on that port. Also says how many those were.
///
/// # Errors
/// As [`build`]; and where nothing else is left.
pub fn build_around(
    admin: Option<SocketAddr>,
    groups: &[Group],
    excludes: &[Spec],
    max_endpoints: u64,
    resolver: &dyn Resolver,
) -> Result<(PlanEndpoints, u64), PlanError> {
    let whole = build(groups, excludes, max_endpoints, resolver)?;
    let Some(admin) = admin.filter(|admin| may_cover(&whole, *admin)) else {
        return Ok((whole, 0));
    };
    let Some(exclusion) = exclusion(admin) else { return Ok((whole, 0)) };
    let excludes: Vec<Spec> = excludes.iter().cloned().chain([exclusion]).collect();
    let rest = build(groups, &excludes, max_endpoints, resolver).map_err(|_| {
        PlanError::whole(
            format!("the plan names nothing but the admin address {admin} (admin.listen)"),
            "name more endpoints, or give admin.listen another port",
        )
    })?;
    let covered = whole.len().saturating_sub(rest.len());
    Ok((rest, covered))
}

/// What to leave out of a plan beside this admin address; nothing where the kernel chose
/// its port when it was bound.
pub(crate) fn exclusion(admin: SocketAddr) -> Option<Spec> {
    let port = Some(admin.port()).filter(|port| *port != 0)?;
    let text = match admin.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => format!("tcp://0.0.0.0/0:{port}"),
        IpAddr::V4(ip) => format!("tcp://{ip},0.0.0.0:{port}"),
        IpAddr::V6(ip) if ip.is_unspecified() => format!("tcp://[::/0]:{port}"),
        IpAddr::V6(ip) => format!("tcp://[{ip}],[::]:{port}"),
    };
    // A zone has no name here: such an address is left in, and a plan that has it finds it
    // taken.
    Spec::parse(&text).ok()
}

/// False where certainly nothing has to be left out, so that names are asked for once.
fn may_cover(plan: &PlanEndpoints, admin: SocketAddr) -> bool {
    let ip = admin.ip();
    let any = match ip {
        IpAddr::V4(_) => IpAddr::from([0; 4]),
        IpAddr::V6(_) => IpAddr::from([0; 16]),
    };
    let port = Port::Number(admin.port());
    let has = |ip: IpAddr| {
        let endpoint = Endpoint { protocol: Protocol::Tcp, address: ip.into(), port };
        plan.index_of(&endpoint).is_some()
    };
    ip == any || has(ip) || has(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::host::SystemResolver;

    /// How many endpoints are left of these specs, and how many were left out.
    fn around(admin: &str, specs: &[&str]) -> Result<(u64, u64), PlanError> {
        let specs = specs.iter().map(|spec| Spec::parse(spec).expect("a spec")).collect();
        let groups = [Group::new("lab", specs)];
        let admin = Some(admin.parse().expect("an address"));
        let built = build_around(admin, &groups, &[], 1_000_000, &SystemResolver);
        built.map(|(plan, covered)| (plan.len(), covered))
    }

    #[test]
    fn the_admin_address_and_the_wildcard_on_its_port_are_left_out() {
        let left = |admin, specs: &[&str]| around(admin, specs).expect("a plan");
        assert_eq!(left("127.0.0.1:80", &["both://127.0.0.0/30:80-81"]), (15, 1));
        assert_eq!(left("127.0.0.1:80", &["tcp://0.0.0.0:80-81"]), (1, 1));
        assert_eq!(left("[::1]:80", &["tcp://*:80-81"]), (3, 1));
        assert_eq!(left("0.0.0.0:80", &["tcp://127.0.0.0/30,[::1]:80-81"]), (6, 4));
        assert_eq!(left("[::]:80", &["tcp://127.0.0.1,[::1]:80-81"]), (3, 1));
    }

    #[test]
    fn what_is_elsewhere_is_left_in() {
        let left = |admin, specs: &[&str]| around(admin, specs).expect("a plan");
        assert_eq!(left("127.0.0.1:82", &["tcp://127.0.0.1:80-81"]), (2, 0));
        assert_eq!(left("127.0.0.1:80", &["udp://127.0.0.1:80"]), (1, 0));
        assert_eq!(left("[::1]:80", &["tcp://127.0.0.1:80-81"]), (2, 0));
        assert_eq!(left("127.0.0.1:0", &["tcp://127.0.0.1:80"]), (1, 0));
    }

    #[test]
    fn a_plan_of_nothing_else_is_refused_by_the_key() {
        let error = around("127.0.0.1:80", &["tcp://127.0.0.1:80"]).expect_err("nothing is left");
        assert!(error.to_string().contains("admin.listen"), "{error}");
    }
}
