//! Sockets that systemd has opened for the program (sd_listen_fds(3)).
//!
//! Takes them, says what to serve where nobody else does, and names what is of no use.
//! Never opens one itself.

use ipcow::config::{self, ConfigErrors, Inputs, LoadedConfig};
use ipcow::service::{GivenSocket, Service};
use ipcow::spec::compress;

use super::plan::counted;

/// Longest list of endpoints. Unit: characters.
const LISTED: usize = 400;

/// What the program was started with.
#[derive(Debug, Default)]
pub(super) struct Activation {
    pub(super) sockets: Vec<GivenSocket>,
    /// Sockets that are of no use: what each is called, and why.
    unfit: Vec<(String, String)>,
}

/// Why the sockets cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum ActivationError {
    #[error(
        "LISTEN_FDS, LISTEN_PID and LISTEN_FDNAMES do not describe the sockets that the program \
         was started with: {0}; let systemd set them, or unset all three"
    )]
    Variables(#[from] std::io::Error),
    #[error(
        "none of the sockets that the program was started with can be served ({0}); correct the \
         .socket unit, or say what to serve"
    )]
    NothingToServe(String),
}

impl Activation {
    /// Takes the sockets that the variables announce, once. To be called before the
    /// program opens anything.
    ///
    /// The variables stay: nothing is started that could inherit them.
    pub(super) fn take() -> Result<Self, ActivationError> {
        let (numbers, names): (Vec<_>, Vec<_>) = sd_notify::listen_fds_with_names()?.unzip();
        let Some((first, last)) = numbers.first().zip(numbers.last()) else {
            return Ok(Self::default());
        };
        let mut taken = Self::default();
        for (name, socket) in names.into_iter().zip(GivenSocket::inherited(*first..last + 1)) {
            match socket {
                Ok(socket) => taken.sockets.push(socket),
                Err(unfit) => taken.unfit.push((name, unfit.to_string())),
            }
        }
        Ok(taken)
    }

    /// Loads the configuration. Where nobody says what to serve, it is what the
    /// sockets are bound to, as if SPEC arguments named it; `inputs` say so then.
    pub(super) fn load(
        &self,
        inputs: &mut Inputs,
    ) -> Result<Result<LoadedConfig, ConfigErrors>, ActivationError> {
        let loaded = config::load(inputs);
        let nothing_given = self.sockets.is_empty() && self.unfit.is_empty();
        if nothing_given || !loaded.as_ref().is_ok_and(LoadedConfig::serves_built_in) {
            return Ok(loaded);
        }
        if self.sockets.is_empty() {
            let reasons = self.unfit.iter().map(|(name, reason)| format!("{name}: {reason}"));
            let reasons: Vec<_> = reasons.collect();
            return Err(ActivationError::NothingToServe(reasons.join("; ")));
        }
        inputs.specs = self.sockets.iter().map(|it| it.endpoint().to_string()).collect();
        Ok(config::load(inputs))
    }

    /// Says what of it is of no use. After the log was set up.
    pub(super) fn log_unfit(unfit: &[(String, String)]) {
        for (name, reason) in unfit {
            tracing::warn!(name, reason, "a socket that systemd gave is of no use, and was closed");
        }
    }

    /// The sockets, and what [`Self::log_unfit`] says.
    pub(super) fn into_parts(self) -> (Vec<GivenSocket>, Vec<(String, String)>) {
        (self.sockets, self.unfit)
    }
}

/// Says what became of the sockets that a service was given.
pub(super) fn log_adoption(service: &Service) {
    if service.adopted() > 0 {
        tracing::info!(sockets = service.adopted(), "serving from sockets that were given");
    }
    let left = service.left_out();
    if !left.is_empty() {
        tracing::warn!(
            endpoints = compress(left.iter().copied(), LISTED),
            "{} that no endpoint of the plan is for: closed; name the endpoint, or give none",
            counted(left.len() as u64, "given socket"),
        );
    }
}
