//! A pretended Stripe on a port of this machine, for tests: it honours idempotency keys, keeps books that a
//! test can look into, and fails as it is told to. Its cards, by the name of the payment method:
//!
//! | method | behaves |
//! |---|---|
//! | `pm_card_chargeDeclined` | always declined |
//! | `pm_card_chargeDeclinedInsufficientFunds` | declined for want of money |
//! | `pm_card_authenticationRequired` | the payer must prove who they are |
//! | `pm_card_noPartialCapture` | takes all that is held, or nothing |
//! | `pm_card_noIncrement` | what is held cannot be raised |
//! | `pm_card_incrementDeclined` | raising what is held is declined |
//! | `pm_card_...` | works |

mod books;

pub use books::{Books, Disputed, Moved, PaidBack, Payment};

use crate::stripe::{StripeConfig, signature};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, StatusCode, Uri};
use books::{Answer, Fields};
use novax_model::Duration;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;
use tokio::task::JoinHandle;

/// What goes wrong with one request.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fault {
    /// Nothing.
    None,
    /// The connection breaks before the request had its effect.
    LoseRequest,
    /// The connection breaks after the request had its effect.
    LoseReply,
    /// No answer ever comes, and the request has no effect.
    Silence,
    /// It takes so many milliseconds, and has its effect then, though nobody may wait for it any more.
    Late(u64),
    /// A 500 without any effect.
    ErrorBefore,
    /// A 500 though it had its effect.
    ErrorAfter,
    /// A 500 without any effect, which is remembered with the idempotency key and said again.
    ErrorForGood,
    /// A 429.
    TooMany,
    /// A 409: the same key is being worked on.
    Busy,
    /// A 200 with an answer that makes no sense, though it had its effect.
    Nonsense,
}

/// How messages are delivered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// One after the other.
    InOrder,
    /// The newest first.
    Reversed,
    /// Each twice.
    Twice,
}

/// The secret key that the server takes.
pub const KEY: &str = "sk_test_mock";
/// The secret that it signs messages with.
pub const WEBHOOK_SECRET: &str = "whsec_mock";

#[derive(Default)]
struct Inner {
    books: Books,
    post_faults: VecDeque<Fault>,
    get_faults: VecDeque<Fault>,
    posts: u64,
    gets: u64,
}

#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Inner>>);

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The server. Ends when it is dropped.
pub struct Mock {
    shared: Shared,
    url: String,
    serving: JoinHandle<()>,
}

impl std::fmt::Debug for Mock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Mock").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Drop for Mock {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

fn now_s() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    now.expect("the clock is right of 1970").as_secs()
}

impl Mock {
    /// Starts on a free port of the loopback interface.
    ///
    /// # Panics
    /// When there is none.
    pub async fn start() -> Mock {
        let shared = Shared::default();
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let router = Router::new().fallback(serve).with_state(shared.clone());
        let serving = tokio::spawn(async move {
            axum::serve(listener, router).await.expect("it serves until it is aborted");
        });
        Mock { shared, url: format!("http://{address}"), serving }
    }

    /// How to reach it; requests have `timeout`.
    #[must_use]
    pub fn config(&self, timeout: Duration) -> StripeConfig {
        StripeConfig { url: self.url.clone(), timeout, ..StripeConfig::new(KEY, WEBHOOK_SECRET) }
    }

    /// What goes wrong with the next requests that change something, one each; after them nothing does.
    pub fn fail_posts(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().post_faults.extend(faults);
    }

    /// What goes wrong with the next questions, one each.
    pub fn fail_gets(&self, faults: impl IntoIterator<Item = Fault>) {
        self.shared.lock().get_faults.extend(faults);
    }

    /// Nothing goes wrong any more.
    pub fn recover(&self) {
        let mut inner = self.shared.lock();
        inner.post_faults.clear();
        inner.get_faults.clear();
    }

    /// Its books, as they are now.
    #[must_use]
    pub fn books(&self) -> Books {
        self.shared.lock().books.clone()
    }

    /// How many requests came: those that change something, and questions.
    #[must_use]
    pub fn requests(&self) -> (u64, u64) {
        let inner = self.shared.lock();
        (inner.posts, inner.gets)
    }

    /// A hold lapses.
    ///
    /// # Panics
    /// When the payment holds nothing.
    pub fn expire(&self, payment: &str) {
        let (status, _) = self.shared.lock().books.cancel(payment, "automatic", now_s());
        assert_eq!(status, 200, "{payment} holds nothing");
    }

    /// A payer who was asked to prove who they are does, or fails to.
    ///
    /// # Panics
    /// When the payment does not wait for it.
    pub fn authenticate(&self, payment: &str, passed: bool) {
        let (status, _) = self.shared.lock().books.authenticate(payment, passed, now_s());
        assert_eq!(status, 200, "{payment} does not wait for its payer");
    }

    /// The payer's bank takes a payment back, and the trouble costs `fee`: the dispute's name.
    ///
    /// # Panics
    /// When nothing was taken by the payment.
    #[must_use]
    pub fn dispute(&self, payment: &str, fee: u64) -> String {
        let opened = self.shared.lock().books.dispute(payment, fee, now_s());
        opened.unwrap_or_else(|| panic!("{payment} has taken nothing"))
    }

    /// A dispute is decided, for whoever was paid or against them.
    ///
    /// # Panics
    /// When there is none of that name.
    pub fn decide(&self, dispute: &str, won: bool) {
        let decided = self.shared.lock().books.decide(dispute, won, now_s());
        assert!(decided, "no dispute {dispute}");
    }

    /// So much is kept of what a payment brought.
    ///
    /// # Panics
    /// When nothing was taken by the payment.
    pub fn keep_fee(&self, payment: &str, fee: u64) {
        let kept = self.shared.lock().books.keep_fee(payment, fee, now_s());
        assert!(kept.is_some(), "{payment} has taken nothing");
    }

    /// Takes the messages that were not delivered yet: signature and body of each.
    #[must_use]
    pub fn take_webhooks(&self, delivery: Delivery) -> Vec<(String, Vec<u8>)> {
        let mut events = std::mem::take(&mut self.shared.lock().books.events);
        match delivery {
            Delivery::InOrder => {}
            Delivery::Reversed => events.reverse(),
            Delivery::Twice => events.extend(events.clone()),
        }
        let sign = |event: &serde_json::Value| {
            let body = event.to_string().into_bytes();
            (signature::sign(WEBHOOK_SECRET, now_s(), &body), body)
        };
        events.iter().map(sign).collect()
    }

    /// Sends them to an address; the statuses that it answered.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn deliver_webhooks(
        &self,
        url: &str,
        delivery: Delivery,
    ) -> Result<Vec<u16>, reqwest::Error> {
        let client = reqwest::Client::builder().no_proxy().build()?;
        let mut statuses = Vec::new();
        for (header, body) in self.take_webhooks(delivery) {
            let post = client.post(url).header("Stripe-Signature", header).body(body);
            statuses.push(post.send().await?.status().as_u16());
        }
        Ok(statuses)
    }
}

async fn serve(
    State(shared): State<Shared>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let key = headers.get("authorization").and_then(|value| value.to_str().ok());
    if key != Some(format!("Bearer {KEY}").as_str()) {
        return reply(401, r#"{"error":{"type":"invalid_request_error"}}"#.into());
    }
    let change = method == Method::POST;
    let text = if change { String::from_utf8_lossy(&body).into_owned() } else { String::new() };
    let request = Request {
        path: uri.path().trim_start_matches("/v1/").to_owned(),
        fields: fields(if change { &text } else { uri.query().unwrap_or_default() }),
        key: headers
            .get("idempotency-key")
            .and_then(|value| value.to_str().ok())
            .unwrap_or_default()
            .to_owned(),
        text,
        change,
    };
    let fault = {
        let mut inner = shared.lock();
        if change {
            inner.posts += 1;
            inner.post_faults.pop_front()
        } else {
            inner.gets += 1;
            inner.get_faults.pop_front()
        }
    };
    answer(shared, request, fault.unwrap_or(Fault::None)).await
}

struct Request {
    path: String,
    fields: Fields,
    key: String,
    text: String,
    change: bool,
}

impl Request {
    fn done(&self, shared: &Shared) -> Answer {
        let path: Vec<&str> = self.path.split('/').collect();
        let mut inner = shared.lock();
        if self.change {
            inner.books.post(&path, &self.key, &self.text, &self.fields, now_s())
        } else {
            inner.books.get(&path, &self.fields)
        }
    }
}

async fn answer(shared: Shared, request: Request, fault: Fault) -> Response<Body> {
    let failure = |status| reply(status, r#"{"error":{"type":"api_error"}}"#.into());
    let (status, body) = match fault {
        Fault::None => request.done(&shared),
        Fault::LoseRequest => return broken(),
        Fault::LoseReply => {
            request.done(&shared);
            return broken();
        }
        Fault::Silence => std::future::pending().await,
        Fault::Late(wait_ms) => {
            // On its own, for this future ends when the client hangs up.
            let late = tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(wait_ms)).await;
                request.done(&shared)
            });
            late.await.expect("it does not panic")
        }
        Fault::ErrorBefore => return failure(500),
        Fault::ErrorAfter => {
            request.done(&shared);
            return failure(500);
        }
        Fault::ErrorForGood => {
            let path: Vec<&str> = request.path.split('/').collect();
            shared.lock().books.stick(&path, &request.key, &request.text)
        }
        Fault::TooMany => return failure(429),
        Fault::Busy => return failure(409),
        Fault::Nonsense => {
            request.done(&shared);
            return reply(200, r#"{"id":"pi_1","status":7}"#.into());
        }
    };
    reply(status, body.to_string())
}

fn reply(status: u16, body: String) -> Response<Body> {
    let status = StatusCode::from_u16(status).expect("a status");
    Response::builder().status(status).body(Body::from(body)).expect("no header is wrong")
}

/// The head of an answer, and then the connection breaks.
fn broken() -> Response<Body> {
    let lost = std::io::Error::other("the reply is lost");
    let stream = futures::stream::once(async { Err::<Bytes, std::io::Error>(lost) });
    Response::builder().body(Body::from_stream(stream)).expect("no header is wrong")
}

fn fields(text: &str) -> Fields {
    let address = reqwest::Url::parse(&format!("http://mock/?{text}")).expect("a form is a query");
    let mut fields = Fields::default();
    for (name, value) in address.query_pairs() {
        match name.strip_prefix("metadata[").and_then(|rest| rest.strip_suffix(']')) {
            Some(name) => fields.metadata.insert(name.to_owned(), value.into_owned()),
            None => fields.plain.insert(name.into_owned(), value.into_owned()),
        };
    }
    fields
}
