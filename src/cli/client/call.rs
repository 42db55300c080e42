//! One connection to a running service: HTTP/1.1 over its control socket.
//!
//! Sends questions and orders, and gives their answers whole or piece by piece. A
//! refusal is an error here. Never prints.

use std::path::{Path, PathBuf};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::timeout;

use super::failure::{Failure, Refused};
use super::target::Target;

/// How long an answer may take to begin. An order looks names up and waits for listeners
/// to close, each bounded by the service.
const PATIENCE: Duration = Duration::from_secs(60);

/// Longest answer that is kept in memory as a whole. Unit: bytes.
const MAX_WHOLE: usize = 1 << 30;

/// A connection to a service.
pub(crate) struct Control {
    sender: SendRequest<Full<Bytes>>,
    path: PathBuf,
    patience: Duration,
}

/// An answer that is no refusal.
pub(crate) struct Answer {
    response: Response<Incoming>,
    path: PathBuf,
}

impl Control {
    /// Finds the service and connects.
    pub(super) async fn open(target: &Target) -> Result<Self, Failure> {
        let (stream, path) = target.connect().await?;
        let broken = |error| broken(&path, &error);
        let (sender, connection) = handshake(TokioIo::new(stream)).await.map_err(broken)?;
        // Its end is told to whoever waits for an answer.
        tokio::spawn(async { drop(connection.await) });
        Ok(Self { sender, path, patience: PATIENCE })
    }

    /// Waits so long for an answer to begin.
    pub(super) const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Asks; `query` is names with their values.
    pub(super) async fn get(
        &mut self,
        route: &str,
        query: &[(&str, &str)],
    ) -> Result<Answer, Failure> {
        let mut address = route.to_owned();
        if !query.is_empty() {
            let mut words = form_urlencoded::Serializer::new(String::new());
            words.extend_pairs(query);
            address.push('?');
            address.push_str(&words.finish());
        }
        self.call(Method::GET, &address, Bytes::new()).await
    }

    /// Orders, with a JSON body.
    pub(super) async fn order(
        &mut self,
        method: Method,
        route: &str,
        body: &Value,
    ) -> Result<Answer, Failure> {
        self.call(method, route, body.to_string().into()).await
    }

    async fn call(
        &mut self,
        method: Method,
        address: &str,
        body: Bytes,
    ) -> Result<Answer, Failure> {
        let mut request =
            Request::builder().method(method).uri(address).header("host", "localhost");
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let request = request.body(Full::new(body)).map_err(|error| Failure::Broken {
            path: self.path.clone(),
            cause: error.to_string(),
        })?;
        let answered = async {
            self.sender.ready().await?;
            self.sender.send_request(request).await
        };
        let response = match timeout(self.patience, answered).await {
            Ok(answered) => answered.map_err(|error| broken(&self.path, &error))?,
            Err(_) => {
                return Err(Failure::Silent { path: self.path.clone(), waited: self.patience });
            }
        };
        let answer = Answer { response, path: self.path.clone() };
        match answer.response.status().is_success() {
            true => Ok(answer),
            false => Err(answer.refusal().await),
        }
    }
}

impl Answer {
    /// How many rows there are without a limit, where the service says so.
    pub(super) fn total(&self) -> Option<u64> {
        self.response.headers().get("x-total-count")?.to_str().ok()?.parse().ok()
    }

    /// The next piece of the body; `None` at its end.
    pub(super) async fn piece(&mut self) -> Result<Option<Bytes>, Failure> {
        loop {
            match self.response.body_mut().frame().await {
                None => return Ok(None),
                Some(Err(error)) => return Err(broken(&self.path, &error)),
                // Trailers are of no interest.
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => return Ok(Some(data)),
                    Err(_trailers) => {}
                },
            }
        }
    }

    /// The whole body.
    pub(super) async fn whole(mut self) -> Result<Vec<u8>, Failure> {
        let mut body = Vec::new();
        while let Some(piece) = self.piece().await? {
            if body.len() + piece.len() > MAX_WHOLE {
                return Err(self.strange("more than a gibibyte; ask for less with --limit"));
            }
            body.extend_from_slice(&piece);
        }
        Ok(body)
    }

    /// The body as the value that it should be, beside its own words.
    pub(super) async fn read<T: DeserializeOwned>(self) -> Result<(T, Vec<u8>), Failure> {
        let path = self.path.clone();
        let body = self.whole().await?;
        let read = serde_json::from_slice(&body);
        read.map(|value| (value, body)).map_err(|error| {
            let found = format!("not the JSON that was expected: {error}");
            Failure::Strange { path, found }
        })
    }

    async fn refusal(self) -> Failure {
        let status = self.response.status();
        let path = self.path.clone();
        let body = match self.whole().await {
            Ok(body) => body,
            Err(failure) => return failure,
        };
        match serde_json::from_slice::<Refused>(&body) {
            Ok(refused) => Failure::Refused(refused),
            Err(_) => {
                let text: String = String::from_utf8_lossy(&body).chars().take(200).collect();
                Failure::Strange { path, found: format!("{status}: {text}") }
            }
        }
    }

    /// Nothing came for so long.
    pub(super) fn silent(&self, waited: Duration) -> Failure {
        Failure::Silent { path: self.path.clone(), waited }
    }

    pub(super) fn strange(&self, found: &str) -> Failure {
        Failure::Strange { path: self.path.clone(), found: found.to_owned() }
    }
}

/// hyper's own words hide the cause in `source`.
fn broken(path: &Path, error: &hyper::Error) -> Failure {
    let cause = match std::error::Error::source(error) {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    };
    Failure::Broken { path: path.to_owned(), cause }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{Read, Write};
    use std::os::unix::net::UnixListener;
    use std::thread::JoinHandle;

    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        target: Target,
    }

    /// A service that answers once with these bytes; returns what it was asked.
    struct Fake {
        folder: tempfile::TempDir,
        asked: JoinHandle<String>,
    }

    impl Fake {
        fn answering(answer: &'static [u8]) -> Self {
            let folder = tempfile::tempdir().expect("a folder");
            let socket = UnixListener::bind(folder.path().join("a.sock")).expect("a socket");
            let asked = std::thread::spawn(move || {
                let (mut client, _) = socket.accept().expect("a client");
                let mut asked = vec![0; 4096];
                let length = client.read(&mut asked).expect("a request");
                client.write_all(answer).expect("the client reads");
                // Silence is told from an end by a client that is gone first.
                if answer.is_empty() {
                    drop(client.read(&mut asked));
                }
                String::from_utf8_lossy(&asked[..length]).into_owned()
            });
            Self { folder, asked }
        }

        /// Asks it and gives the whole answer.
        fn ask(&self, query: &[(&str, &str)]) -> Result<(Option<u64>, Vec<u8>), Failure> {
            let path = self.folder.path().join("a.sock");
            let words = ["x", "--control", path.to_str().expect("text")];
            let target = Program::try_parse_from(words).expect("legal").target;
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let mut control =
                    Control::open(&target).await?.patience(Duration::from_millis(200));
                let answer = control.get("/x", query).await?;
                Ok((answer.total(), answer.whole().await?))
            })
        }
    }

    #[test]
    fn a_query_is_escaped_and_the_answer_is_read_to_its_end() {
        let answer = b"HTTP/1.1 200 OK\r\nx-total-count: 7\r\ncontent-length: 2\r\n\r\n[]";
        let fake = Fake::answering(answer);
        let answered = fake.ask(&[("select", "*://[::1%eth0]:80,!81&x")]).expect("an answer");
        assert_eq!(answered, (Some(7), b"[]".to_vec()));
        let asked = fake.asked.join().expect("no panic");
        let line = "GET /x?select=*%3A%2F%2F%5B%3A%3A1%25eth0%5D%3A80%2C%2181%26x HTTP/1.1\r\n";
        assert!(asked.starts_with(line), "{asked}");
        assert!(asked.contains("host: localhost\r\n"), "{asked}");
    }

    #[test]
    fn a_refusal_is_an_error_with_its_words() {
        let fake = Fake::answering(
            b"HTTP/1.1 409 Conflict\r\n\r\n\
              {\"code\":\"draining\",\"message\":\"m\",\"hint\":\"h\"}",
        );
        match fake.ask(&[]) {
            Err(Failure::Refused(Refused { code, .. })) => assert_eq!(code, "draining"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_no_answer_of_ours_is_told_as_such() {
        let fake = Fake::answering(b"HTTP/1.1 500 No\r\ncontent-length: 4\r\n\r\n\x1b[2J");
        let failure = fake.ask(&[]).expect_err("no answer");
        assert!(matches!(failure, Failure::Strange { .. }), "{failure:?}");
        assert!(failure.to_string().contains("500 Internal Server Error: \\u{1b}[2J"), "{failure}");
        let fake = Fake::answering(b"SSH-2.0-OpenSSH\r\n");
        assert!(matches!(fake.ask(&[]), Err(Failure::Broken { .. })));
    }

    #[test]
    fn an_answer_that_is_cut_off_is_an_error_and_so_is_silence() {
        let fake = Fake::answering(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf");
        assert!(matches!(fake.ask(&[]), Err(Failure::Broken { .. })));
        let fake = Fake::answering(b"");
        let failure = fake.ask(&[]).expect_err("silence");
        assert!(failure.is_nobody(), "{failure:?}");
    }
}
