//! From the names and numbers of `[process]` to a user and a group.
//!
//! Asks the machine's databases (getpwnam(3), getgrnam(3)). Never changes who the process is.

use nix::unistd::{Gid, Group, Uid, User};

use super::ConfineError;
use crate::config::Process;

/// Who the process shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Identity {
    /// `None` = the user stays.
    pub(super) uid: Option<Uid>,
    pub(super) gid: Gid,
}

/// The identity that the configuration asks for; `None` where it asks for none.
pub(super) fn wanted(process: &Process) -> Result<Option<Identity>, ConfineError> {
    let user = process.user.as_deref().map(user).transpose()?;
    let group = process.group.as_deref().map(group).transpose()?;
    let (uid, gid) = match (user, group) {
        (None, None) => return Ok(None),
        (user, Some(gid)) => (user.map(|(uid, _)| uid), gid),
        (Some((uid, Some(own))), None) => (Some(uid), own),
        (Some((_, None)), None) => {
            return Err(ConfineError::NoGroup(process.user.clone().unwrap_or_default()));
        }
    };
    Ok(Some(Identity { uid, gid }))
}

/// A user, and its own group where the machine knows it.
fn user(text: &str) -> Result<(Uid, Option<Gid>), ConfineError> {
    let (uid, own) = match number(text) {
        Some(uid) => {
            let uid = Uid::from_raw(uid);
            (uid, User::from_uid(uid).map_err(ConfineError::Lookup)?.map(|found| found.gid))
        }
        None => {
            let found = User::from_name(text).map_err(ConfineError::Lookup)?;
            let found = found.ok_or_else(|| ConfineError::UnknownUser(text.to_owned()))?;
            (found.uid, Some(found.gid))
        }
    };
    if uid.is_root() {
        return Err(ConfineError::RootUser(text.to_owned()));
    }
    Ok((uid, own))
}

fn group(text: &str) -> Result<Gid, ConfineError> {
    if let Some(gid) = number(text) {
        return Ok(Gid::from_raw(gid));
    }
    let found = Group::from_name(text).map_err(ConfineError::Lookup)?;
    Ok(found.ok_or_else(|| ConfineError::UnknownGroup(text.to_owned()))?.gid)
}

/// A number as it stands; the greatest means "unchanged" to the kernel (setresuid(2)) and is none.
fn number(text: &str) -> Option<u32> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A number that no machine gives to anybody.
    const NOBODY_IN_PARTICULAR: &str = "3999999999";

    fn asked(user: &str, group: &str) -> Result<Option<Identity>, ConfineError> {
        let given = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        wanted(&Process { user: given(user), group: given(group), ..Process::default() })
    }

    #[test]
    fn without_names_nobody_changes() {
        assert_eq!(asked("", "").expect("nothing to look up"), None);
    }

    #[test]
    fn a_user_by_name_and_by_number_is_one_and_brings_its_group() {
        let this = User::from_name("nobody").expect("a database").expect("every system has it");
        let by_name = asked("nobody", "").expect("known").expect("an identity");
        assert_eq!((by_name.uid, by_name.gid), (Some(this.uid), this.gid));
        assert_eq!(asked(&this.uid.to_string(), "").expect("known"), Some(by_name));
    }

    #[test]
    fn a_group_alone_leaves_the_user() {
        let identity = asked("", "7").expect("a number").expect("an identity");
        assert_eq!((identity.uid, identity.gid), (None, Gid::from_raw(7)));
    }

    #[test]
    fn a_number_that_nobody_has_needs_a_group() {
        assert!(matches!(asked(NOBODY_IN_PARTICULAR, ""), Err(ConfineError::NoGroup(_))));
        let identity = asked(NOBODY_IN_PARTICULAR, "7").expect("numbers").expect("an identity");
        assert_eq!(identity.uid.map(Uid::as_raw), NOBODY_IN_PARTICULAR.parse().ok());
    }

    #[test]
    fn who_is_unknown_is_named_with_the_key() {
        let error = asked("no such\nuser", "").expect_err("unknown");
        assert!(matches!(error, ConfineError::UnknownUser(_)) && error.is_configuration());
        assert!(error.to_string().contains("process.user = \"no such\\nuser\""), "{error}");
        let error = asked("nobody", "no-such-group").expect_err("unknown");
        assert!(error.to_string().contains("process.group = \"no-such-group\""), "{error}");
    }

    #[test]
    fn root_and_the_number_that_means_unchanged_are_refused() {
        assert!(matches!(asked("root", ""), Err(ConfineError::RootUser(_))));
        assert!(matches!(asked("0", ""), Err(ConfineError::RootUser(_))));
        assert!(matches!(asked("4294967295", ""), Err(ConfineError::UnknownUser(_))));
        assert!(matches!(asked("", "4294967295"), Err(ConfineError::UnknownGroup(_))));
    }
}
