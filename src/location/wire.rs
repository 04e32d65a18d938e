//! The HTTP requests of object stores, one by one as they go over the wire, repeated ones included.
//! Here they are counted and limited, and here a store that does not answer, or asks to come back
//! later, is noticed and told of. `object_store` repeats such requests.
//!
//! Each answer and each piece of a body is progress for the watchdog: a store that says "slow down" is
//! waited for, and one that says nothing is not.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::FutureExt;
use http_body::{Body, Frame, SizeHint};
use object_store::ClientOptions;
use object_store::client::{
    HttpClient, HttpConnector, HttpError, HttpErrorKind, HttpRequest, HttpResponse,
    HttpResponseBody, HttpService, ReqwestConnector,
};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Sleep;

use super::listed_keys::nameable;
use super::traffic::{Kind, Traffic};
use crate::progress::tick;

/// How long nothing may come before a request is repeated.
const SILENCE: Duration = Duration::from_secs(30);
/// Where a machine of a cloud tells its own keys.
const MACHINE: &str = "169.254.169.254";
/// The least number of bytes that a store must take in a second.
const SLOWEST_UPLOAD: usize = 100_000;
/// An answer that is not there after so long is told of, and one that takes long to come in.
const LONG_ANSWER: Duration = Duration::from_secs(5);
const LONG_BODY: Duration = Duration::from_secs(10);
/// How often trouble is told of.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// The end of trouble is told of if it lasted so long.
const WORTH_TELLING: Duration = Duration::from_secs(2);

/// What all connections of one store share.
#[derive(Clone)]
pub(super) struct Wire {
    pub(super) traffic: Arc<Traffic>,
    /// How many requests may be under way.
    pub(super) limit: Arc<Semaphore>,
    /// Whether answers count as progress.
    pub(super) is_watched: bool,
    pub(super) trouble: Arc<Trouble>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.trouble.store)
    }
}

impl HttpConnector for Wire {
    fn connect(&self, options: &ClientOptions) -> object_store::Result<HttpClient> {
        let client = ReqwestConnector::default().connect(options)?;
        Ok(HttpClient::new(Connection { client, wire: self.clone() }))
    }
}

#[derive(Debug)]
struct Connection {
    client: HttpClient,
    wire: Wire,
}

#[async_trait]
impl HttpService for Connection {
    async fn call(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let Wire { traffic, limit, trouble, .. } = &self.wire;
        let sent = request.body().content_length();
        let kind = Kind::of(request.method().as_str(), request.uri().query().unwrap_or_default());
        let permit = limit.clone().acquire_owned().await.map_err(unknown)?;
        traffic.count_request(kind, sent);
        let begun = Instant::now();
        let patience = SILENCE + Duration::from_secs((sent / SLOWEST_UPLOAD) as u64);
        let is_of_machine = request.uri().host() == Some(MACHINE);
        let mut answer = self.client.execute(request).boxed();
        let soon = tokio::time::timeout(LONG_ANSWER, &mut answer).await;
        let answer = match soon {
            Ok(answer) => answer,
            Err(_) => {
                let seconds = LONG_ANSWER.as_secs();
                trouble.begins(&format!("has not answered for {seconds} s"));
                let later = tokio::time::timeout(patience - LONG_ANSWER, answer).await;
                later.unwrap_or_else(|_| Err(silent(patience)))
            }
        };
        // Where keys were forgotten, the machine is asked for its own. It answers at once or never.
        let answer = match answer {
            Err(error) if is_of_machine => Err(HttpError::new(HttpErrorKind::Unknown, error)),
            answer => answer,
        };
        traffic.count_wait(begun.elapsed());
        let why = match &answer {
            Ok(answer) => {
                self.wire.tick();
                let status = answer.status();
                let is_later = status.is_server_error() || [408, 429].contains(&status.as_u16());
                is_later.then(|| format!("answers {status}"))
            }
            Err(_) if is_of_machine => None,
            Err(error) => Some(format!("does not answer: {}", innermost(error))),
        };
        match why {
            Some(why) => {
                traffic.count_failure();
                trouble.begins(&why);
            }
            None => trouble.ends(),
        }
        let (head, body) = answer?.into_parts();
        let mut body = Metered::new(body, self.wire.clone(), permit);
        let body = match kind {
            // A listing whose body is cut is not repeated by the client, unless the request fails.
            Kind::List => HttpResponseBody::from(nameable(body.read().await?)),
            _ => HttpResponseBody::new(body),
        };
        Ok(HttpResponse::from_parts(head, body))
    }
}

impl Wire {
    fn tick(&self) {
        if self.is_watched {
            tick();
        }
    }
}

/// The body of an answer. It is counted, and fails when nothing comes for too long.
struct Metered {
    body: HttpResponseBody,
    wire: Wire,
    silence: Pin<Box<Sleep>>,
    begun: Instant,
    _permit: OwnedSemaphorePermit,
}

impl Metered {
    fn new(body: HttpResponseBody, wire: Wire, permit: OwnedSemaphorePermit) -> Metered {
        let silence = Box::pin(tokio::time::sleep(SILENCE));
        Metered { body, wire, silence, begun: Instant::now(), _permit: permit }
    }
}

impl Metered {
    /// All of it. Errors: one after which the request can be repeated.
    async fn read(&mut self) -> Result<Bytes, HttpError> {
        let mut all = BytesMut::new();
        while let Some(frame) = poll_fn(|context| Pin::new(&mut *self).poll_frame(context)).await {
            let frame = frame.map_err(|error| HttpError::new(HttpErrorKind::Interrupted, error))?;
            all.extend_from_slice(&frame.into_data().unwrap_or_default());
        }
        Ok(all.freeze())
    }
}

impl Drop for Metered {
    fn drop(&mut self) {
        if self.begun.elapsed() >= LONG_BODY {
            self.wire.trouble.took(self.begun.elapsed());
        }
    }
}

impl Body for Metered {
    type Data = Bytes;
    type Error = HttpError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, HttpError>>> {
        let frame = match Pin::new(&mut self.body).poll_frame(context) {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                ready!(self.silence.as_mut().poll(context));
                Some(Err(silent(SILENCE)))
            }
        };
        match &frame {
            Some(Ok(frame)) => {
                self.wire.traffic.count_read(frame.data_ref().map_or(0, Bytes::len));
                self.wire.tick();
                self.silence.as_mut().reset(tokio::time::Instant::now() + SILENCE);
            }
            Some(Err(error)) => {
                self.wire.traffic.count_failure();
                self.wire.trouble.begins(&format!("cuts an answer: {}", innermost(error)));
            }
            None => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Whether a store is in trouble, and since when. It is told of now and then, not for each request.
pub(super) struct Trouble {
    /// The scheme and the bucket.
    store: String,
    /// How long a request is repeated.
    patience: Duration,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    since: Option<Instant>,
    told: Option<Instant>,
}

impl Trouble {
    pub(super) fn new(store: &str, patience: Duration) -> Trouble {
        Trouble { store: store.to_owned(), patience, state: Mutex::default() }
    }

    fn begins(&self, why: &str) {
        let Ok(mut state) = self.state.lock() else { return };
        let since = *state.since.get_or_insert_with(Instant::now);
        if state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            state.told = Some(Instant::now());
            let so_far = match since.elapsed().as_secs() {
                0 => String::new(),
                seconds => format!(" (for {seconds} s so far)"),
            };
            let patience = self.patience.as_secs();
            tracing::warn!(
                "{}: the store {why}{so_far}; waiting, and trying again for up to {patience} s",
                self.store
            );
        }
    }

    /// An answer took long, but came.
    fn took(&self, time: Duration) {
        let Ok(mut state) = self.state.lock() else { return };
        if state.told.is_none_or(|told| told.elapsed() >= TELL_EVERY) {
            state.told = Some(Instant::now());
            let seconds = time.as_secs();
            tracing::warn!("{}: the store is slow: an answer took {seconds} s", self.store);
        }
    }

    fn ends(&self) {
        let Ok(mut state) = self.state.lock() else { return };
        let Some(since) = state.since.take() else { return };
        if since.elapsed() >= WORTH_TELLING {
            let seconds = since.elapsed().as_secs();
            tracing::warn!("{}: the store answers again after {seconds} s", self.store);
        }
    }
}

fn silent(patience: Duration) -> HttpError {
    let seconds = patience.as_secs();
    let silence = std::io::Error::new(
        std::io::ErrorKind::TimedOut,
        format!("nothing came for {seconds} seconds"),
    );
    HttpError::new(HttpErrorKind::Timeout, silence)
}

fn unknown(error: tokio::sync::AcquireError) -> HttpError {
    HttpError::new(HttpErrorKind::Unknown, error)
}

/// The innermost cause says most: the others only say that a request failed.
fn innermost(error: &HttpError) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
