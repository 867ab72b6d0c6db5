//! Why a benchmark has no figures.

/// Whatever it is, nothing was measured.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum BenchError {
    /// A socket, a file or a process of this machine failed.
    #[error("{0}: {1}")]
    System(&'static str, #[source] std::io::Error),
    /// The node did not come up, or went down.
    #[error("the node: {0}")]
    Node(String),
    /// The node answered as it must not.
    #[error("wrong answer: {0}")]
    Answer(String),
    /// One of the stores that are measured failed or forgot something.
    #[error("{0}: {1}")]
    Store(&'static str, String),
    /// A part of the benchmark that runs in a process of its own failed.
    #[error("the part {0} failed: {1}")]
    Part(String, String),
    /// The machine is not set up for this much.
    #[error("{0}")]
    Machine(String),
}

pub(crate) type Result<T> = std::result::Result<T, BenchError>;

/// Says what was being done when the system failed.
pub(crate) trait During<T> {
    fn during(self, what: &'static str) -> Result<T>;
}

impl<T> During<T> for std::io::Result<T> {
    fn during(self, what: &'static str) -> Result<T> {
        self.map_err(|error| BenchError::System(what, error))
    }
}
