//! The client: Stripe's API over HTTPS.
//!
//! A request is sent once: trying again is the caller's business, who asks first. Answers are bounded in time
//! and length, redirects are not followed, and the key goes to no address without TLS but this machine.

use super::codec::{
    self, BalanceBody, DisputeBody, Intent, Listed, Page, Question, RefundBody, Request, Stamped,
};
use super::form::Form;
use super::{amount, signature};
use crate::error::{PaymentError, WebhookError};
use crate::operation::{Operation, Outcome, ProviderRef};
use crate::provider::{Attempt, DisputeRow, FeeRow, Knowledge, PaymentProvider, ProviderRow};
use crate::webhook::WebhookEvent;
use async_trait::async_trait;
use novax_model::{Amount, Currency, Duration, Timestamp};
use reqwest::header::RETRY_AFTER;
use reqwest::{Client, RequestBuilder, Response, Url};
use std::fmt;

/// The version of the protocol that this speaks.
const API_VERSION: &str = "2024-06-20";
/// The most bytes of an answer that are read: a page of a hundred payments has less than half of it.
const ANSWER_BYTES_MAX: usize = 2 << 20;
/// The most pages that are looked through for one operation.
const QUERY_PAGES_MAX: usize = 50;
/// The longest time a provider's wish to be left alone is honoured for.
const WAIT_MAX: Duration = Duration::from_secs(300);

/// Where and as whom.
#[derive(Clone)]
pub struct StripeConfig {
    /// The API's address, such as `https://api.stripe.com`.
    pub url: String,
    /// The secret key.
    pub key: String,
    /// The secrets of the webhook's address; several while one is being replaced.
    pub webhook_secrets: Vec<String>,
    /// How old a message's signature may be.
    pub webhook_tolerance: Duration,
    /// How long one request may take, from connecting to the last byte.
    pub timeout: Duration,
    /// The server takes a time as a filter of lists. Stripe does; some that speak its protocol do not.
    pub filters: bool,
}

impl StripeConfig {
    /// Stripe itself, with the times it recommends.
    #[must_use]
    pub fn new(key: &str, webhook_secret: &str) -> StripeConfig {
        StripeConfig {
            url: "https://api.stripe.com".into(),
            key: key.into(),
            webhook_secrets: vec![webhook_secret.into()],
            webhook_tolerance: Duration::from_secs(300),
            timeout: Duration::from_secs(30),
            filters: true,
        }
    }
}

impl fmt::Debug for StripeConfig {
    /// Without its secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StripeConfig")
            .field("url", &self.url)
            .field("timeout", &self.timeout)
            .field("filters", &self.filters)
            .finish_non_exhaustive()
    }
}

/// Stripe, or a server that speaks its protocol.
#[derive(Debug)]
pub struct Stripe {
    config: StripeConfig,
    base: Url,
    client: Client,
}

impl Stripe {
    /// Checks the configuration. Does not connect yet.
    ///
    /// # Errors
    /// [`PaymentError::Configuration`] when it cannot be used.
    pub fn new(config: StripeConfig) -> Result<Stripe, PaymentError> {
        let wrong = |words: &str| PaymentError::Configuration(words.to_owned());
        let url = format!("{}/v1/", config.url.trim_end_matches('/'));
        let base = Url::parse(&url).map_err(|error| wrong(&format!("{url}: {error}")))?;
        let loopback = matches!(base.host_str(), Some("127.0.0.1" | "localhost" | "[::1]"));
        if base.scheme() != "https" && !(loopback && base.scheme() == "http") {
            return Err(wrong("the key would go over the network in clear: use https"));
        }
        if config.key.is_empty() || !config.key.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("the secret key is empty or holds foreign characters"));
        }
        if config.timeout.is_zero() || config.webhook_tolerance.is_zero() {
            return Err(wrong("a time of zero"));
        }
        let mut builder =
            Client::builder().timeout(config.timeout).redirect(reqwest::redirect::Policy::none());
        if loopback {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(|error| wrong(&error.to_string()))?;
        Ok(Stripe { config, base, client })
    }

    async fn act(&self, operation: &Operation) -> Attempt {
        let request = match codec::request(operation) {
            Ok(request) => request,
            Err(outcome) => return Attempt::Answered(outcome),
        };
        let answer = match self.post(&request) {
            Ok(request) => self.with_headers(request).send().await,
            Err(error) => return not_taken(None, error.to_string()),
        };
        let answer = match answer {
            Ok(answer) => answer,
            // Without a connection nothing was sent.
            Err(error) if error.is_connect() => return not_taken(None, without_url(error)),
            Err(_) => return Attempt::Answered(Outcome::Unknown),
        };
        let status = answer.status().as_u16();
        let wait = wait_wished(&answer);
        match read(answer).await {
            Ok(body) => codec::answer(operation, status, &body, wait),
            Err(_) => Attempt::Answered(Outcome::Unknown),
        }
    }

    fn post(&self, request: &Request) -> Result<RequestBuilder, PaymentError> {
        let url = self.url(&request.path)?;
        let post = self
            .client
            .post(url)
            .header("Content-Type", "application/x-www-form-urlencoded")
            .header("Idempotency-Key", &request.idempotency_key);
        Ok(post.body(request.form.text().to_owned()))
    }

    fn url(&self, path: &str) -> Result<Url, PaymentError> {
        self.base
            .join(path)
            .map_err(|error| PaymentError::Configuration(format!("{path}: {error}")))
    }

    fn with_headers(&self, request: RequestBuilder) -> RequestBuilder {
        request.bearer_auth(&self.config.key).header("Stripe-Version", API_VERSION)
    }

    /// Status and body of a question.
    async fn get(&self, path: &str, query: &Form) -> Result<(u16, Vec<u8>), PaymentError> {
        let mut url = self.url(path)?;
        if !query.text().is_empty() {
            url.set_query(Some(query.text()));
        }
        let answer = self.with_headers(self.client.get(url)).send().await;
        let answer = answer.map_err(|error| PaymentError::Unanswered(without_url(error)))?;
        let status = answer.status().as_u16();
        Ok((status, read(answer).await?))
    }

    /// One page of a list.
    async fn page<T: serde::de::DeserializeOwned>(
        &self,
        path: &str,
        query: &Form,
    ) -> Result<Page<T>, PaymentError> {
        let (status, body) = self.get(path, query).await?;
        match status {
            200 => serde_json::from_slice(&body)
                .map_err(|error| PaymentError::Nonsense(error.to_string())),
            400..=428 => Err(PaymentError::Refused(format!("{path}: status {status}"))),
            _ => Err(PaymentError::Unanswered(format!("{path}: status {status}"))),
        }
    }

    /// Goes through a list, newest first, until `look` has what it wants (`true`), the objects are older
    /// than `from`, or it ends. `None` when there were more pages than `pages_max`.
    async fn walk<T: Stamped + serde::de::DeserializeOwned>(
        &self,
        path: &str,
        from: Option<Timestamp>,
        pages_max: usize,
        filter: &Form,
        mut look: impl FnMut(&T) -> bool + Send,
    ) -> Result<Option<()>, PaymentError> {
        let mut after: Option<String> = None;
        for _ in 0..pages_max {
            let server_from = from.filter(|_| self.config.filters);
            let query = codec::page_query(server_from, after.as_deref(), filter.clone());
            let page: Page<T> = self.page(path, &query).await?;
            for object in &page.data {
                // The provider's clock has whole seconds.
                let old =
                    from.is_some_and(|from| object.created().0 / 1_000_000 < from.0 / 1_000_000);
                if !old && look(object) {
                    return Ok(Some(()));
                }
            }
            after = page.data.last().map(|object| object.id().to_owned());
            if !page.has_more || after.is_none() {
                return Ok(Some(()));
            }
        }
        Ok(None)
    }

    async fn ask(&self, operation: &Operation) -> Result<Knowledge, PaymentError> {
        let mut found = None;
        let nothing = Form::default();
        let whole = match codec::question(operation) {
            Question::Payment { path } => {
                let (status, body) = self.get(&path, &nothing).await?;
                return Ok(codec::known_of_payment(operation, status, &body));
            }
            Question::Payments { from } => {
                let look = |intent: &Intent| {
                    found = codec::known_of_listed(operation, intent);
                    found.is_some()
                };
                self.walk("payment_intents", Some(from), QUERY_PAGES_MAX, &nothing, look).await?
            }
            Question::Refunds { payment } => {
                let filter = nothing.with("payment_intent", payment.as_str());
                let look = |refund: &RefundBody| {
                    found = codec::known_of_refund(operation, refund);
                    found.is_some()
                };
                self.walk("refunds", None, QUERY_PAGES_MAX, &filter, look).await?
            }
        };
        Ok(match (found, whole) {
            (Some(Outcome::Unknown), _) => Knowledge::Unanswered("a payment without sense".into()),
            (Some(outcome), _) => Knowledge::Found(outcome),
            (None, Some(())) => Knowledge::Absent,
            (None, None) => Knowledge::Unanswered("too many payments to look through".into()),
        })
    }
}

fn not_taken(wait: Option<Duration>, reason: String) -> Attempt {
    Attempt::NotTaken { wait, reason }
}

/// Addresses hold names of payments, which do not belong into logs.
fn without_url(error: reqwest::Error) -> String {
    error.without_url().to_string()
}

fn wait_wished(answer: &Response) -> Option<Duration> {
    let text = answer.headers().get(RETRY_AFTER)?.to_str().ok()?;
    text.parse().ok().map(|seconds| Duration::from_secs(seconds).min(WAIT_MAX))
}

/// The body, up to its bound.
async fn read(mut answer: Response) -> Result<Vec<u8>, PaymentError> {
    let mut body = Vec::new();
    loop {
        let part = answer.chunk().await;
        let part = part.map_err(|error| PaymentError::Unanswered(without_url(error)))?;
        let Some(part) = part else {
            return Ok(body);
        };
        if body.len() + part.len() > ANSWER_BYTES_MAX {
            return Err(PaymentError::Nonsense("an answer without end".into()));
        }
        body.extend_from_slice(&part);
    }
}

#[async_trait]
impl PaymentProvider for Stripe {
    fn name(&self) -> &'static str {
        "stripe"
    }

    async fn authorise(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn increment(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn capture(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn void(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn refund(&self, operation: &Operation) -> Attempt {
        self.act(operation).await
    }

    async fn query(&self, operation: &Operation) -> Knowledge {
        let known = self.ask(operation).await;
        known.unwrap_or_else(|error| Knowledge::Unanswered(error.to_string()))
    }

    async fn list(
        &self,
        since: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<ProviderRow>, PaymentError> {
        let mut rows = Vec::new();
        let mut nonsense = None;
        let mut add = |row: Option<ProviderRow>, id: &str| {
            // What cannot be read must not look as if it were not there.
            match row {
                Some(row) => rows.push(row),
                None => nonsense = Some(id.to_owned()),
            }
            rows.len() > rows_max
        };
        let (pages_max, all) = (rows_max / 100 + 1, Form::default());
        let look = |intent: &Intent| add(intent.row(), &intent.id);
        let payments = self.walk("payment_intents", Some(since), pages_max, &all, look).await?;
        let look = |refund: &RefundBody| refund.is_of_a_payment() && add(refund.row(), &refund.id);
        let refunds = self.walk("refunds", Some(since), pages_max, &all, look).await?;
        if let Some(id) = nonsense {
            return Err(PaymentError::Nonsense(format!("the amounts of {id}")));
        }
        if payments.is_none() || refunds.is_none() || rows.len() > rows_max {
            return Err(PaymentError::TooMany { rows_max });
        }
        rows.sort_by_key(|row| std::cmp::Reverse(row.created));
        Ok(rows)
    }

    async fn disputes(
        &self,
        since: Timestamp,
        rows_max: usize,
    ) -> Result<Vec<DisputeRow>, PaymentError> {
        let (mut rows, mut nonsense) = (Vec::new(), None);
        let look = |dispute: &DisputeBody| {
            match dispute.row() {
                Some(row) => rows.push(row),
                None => nonsense = Some(dispute.id.clone()),
            }
            rows.len() > rows_max
        };
        let (pages_max, all) = (rows_max / 100 + 1, Form::default());
        let whole = self.walk("disputes", Some(since), pages_max, &all, look).await?;
        if let Some(id) = nonsense {
            return Err(PaymentError::Nonsense(format!("the amounts of {id}")));
        }
        if whole.is_none() || rows.len() > rows_max {
            return Err(PaymentError::TooMany { rows_max });
        }
        Ok(rows)
    }

    async fn dispute(&self, reference: &ProviderRef) -> Result<Option<DisputeRow>, PaymentError> {
        let path = format!("disputes/{reference}");
        let (status, body) = self.get(&path, &Form::default()).await?;
        codec::dispute(status, &body).map_err(PaymentError::Nonsense)
    }

    async fn fees(&self, since: Timestamp, rows_max: usize) -> Result<Vec<FeeRow>, PaymentError> {
        let mut rows = Vec::new();
        let look = |moved: &BalanceBody| {
            rows.extend(moved.row());
            rows.len() > rows_max
        };
        let (pages_max, all) = (rows_max / 100 + 1, Form::default());
        let whole = self.walk("balance_transactions", Some(since), pages_max, &all, look).await?;
        if whole.is_none() || rows.len() > rows_max {
            return Err(PaymentError::TooMany { rows_max });
        }
        Ok(rows)
    }

    fn verify_webhook(
        &self,
        header: &str,
        body: &[u8],
        now: Timestamp,
    ) -> Result<WebhookEvent, WebhookError> {
        let StripeConfig { webhook_secrets, webhook_tolerance, .. } = &self.config;
        signature::verify(webhook_secrets, *webhook_tolerance, header, body, now)
    }

    fn step(&self, currency: Currency) -> Amount {
        amount::step(currency)
    }
}
