//! What can go wrong apart from a payment's own outcome, and whose fault it is.

/// Why a provider could not be set up, asked for a list, or believed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PaymentError {
    /// The configuration cannot be used: the operator must mend it.
    #[error("the payment provider's configuration: {0}")]
    Configuration(String),
    /// The provider did not answer, or answered that it cannot now: its fault or the network's. Ask again.
    #[error("the payment provider did not answer: {0}")]
    Unanswered(String),
    /// The provider refused the question: the key or its rights are wrong. The operator must mend it.
    #[error("the payment provider refused: {0}")]
    Refused(String),
    /// The provider's answer is not what its protocol says: its fault, or ours for not knowing it.
    #[error("the payment provider's answer makes no sense: {0}")]
    Nonsense(String),
    /// There is more than was asked for in one go: ask for a shorter time.
    #[error("the payment provider has more than {rows_max} rows in that time")]
    TooMany {
        /// The bound.
        rows_max: usize,
    },
}

/// Why a message that claims to come from the provider is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum WebhookError {
    /// Longer than any event: the sender is not the provider.
    #[error("the message is longer than {} bytes", crate::webhook::BODY_BYTES_MAX)]
    TooLong,
    /// The signature's header cannot be read: the sender is not the provider, or a proxy changed it.
    #[error("the signature's header cannot be read")]
    Header,
    /// No signature fits any secret we know: a forgery, or the operator's secret is not the provider's.
    #[error("no signature fits")]
    Signature,
    /// Signed too long ago, or in the future: a replay, or a clock is wrong.
    #[error("the signature's time is too far from now")]
    Time,
    /// Signed by the provider and yet no event: the provider's fault, or ours for not knowing it.
    #[error("the message is not an event")]
    Nonsense,
}
