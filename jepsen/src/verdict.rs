//! How a run went: three verdicts, kept apart.
//!
//! *Passed*: enough happened, and the checkers found nothing. *Failed*: a checker found something.
//! *Broken*: the run itself did not work, or too little happened to say anything. Only the first is a pass.

use serde::Serialize;

/// Findings kept of a run; more of them say nothing new.
pub const FINDINGS_MAX: usize = 100;

/// How a run went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "verdict", rename_all = "snake_case")]
pub enum Verdict {
    /// Nothing is wrong.
    Passed,
    /// The node broke a promise.
    Failed {
        /// What is wrong.
        findings: Vec<String>,
    },
    /// Nothing can be said.
    Broken {
        /// Why.
        reason: String,
    },
}

impl Verdict {
    /// Passed when there are no findings.
    #[must_use]
    pub fn of(mut findings: Vec<String>) -> Verdict {
        if findings.is_empty() {
            return Verdict::Passed;
        }
        if findings.len() > FINDINGS_MAX {
            let more = findings.len() - FINDINGS_MAX;
            findings.truncate(FINDINGS_MAX);
            findings.push(format!("and {more} more"));
        }
        Verdict::Failed { findings }
    }

    /// Nothing can be said, for this reason.
    #[must_use]
    pub fn broken(reason: impl Into<String>) -> Verdict {
        Verdict::Broken { reason: reason.into() }
    }

    /// Both together: what was found stays found, and what is broken is no pass.
    #[must_use]
    pub fn and(self, other: Verdict) -> Verdict {
        match (self, other) {
            (Verdict::Failed { mut findings }, Verdict::Failed { findings: more }) => {
                findings.extend(more);
                Verdict::of(findings)
            }
            (failed @ Verdict::Failed { .. }, _) | (_, failed @ Verdict::Failed { .. }) => failed,
            (Verdict::Broken { reason }, Verdict::Broken { reason: more }) => {
                Verdict::Broken { reason: format!("{reason}; {more}") }
            }
            (broken @ Verdict::Broken { .. }, _) | (_, broken @ Verdict::Broken { .. }) => broken,
            (Verdict::Passed, Verdict::Passed) => Verdict::Passed,
        }
    }

    /// Whether it is a pass.
    #[must_use]
    pub fn is_pass(&self) -> bool {
        *self == Verdict::Passed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_two_passes_are_a_pass_and_findings_outweigh_a_broken_run() {
        let failed = || Verdict::of(vec!["lost".to_owned()]);
        let broken = || Verdict::broken("no fault was installed");
        assert!(Verdict::Passed.and(Verdict::Passed).is_pass());
        for other in [failed(), broken()] {
            assert!(!Verdict::Passed.and(other.clone()).is_pass());
            assert!(!other.and(Verdict::Passed).is_pass());
        }
        assert_eq!(broken().and(failed()), failed());
        assert_eq!(failed().and(broken()), failed());
        let Verdict::Failed { findings } = failed().and(failed()) else { panic!("failed") };
        assert_eq!(findings.len(), 2);
        let Verdict::Broken { reason } = broken().and(broken()) else { panic!("broken") };
        assert_eq!(reason, "no fault was installed; no fault was installed");
    }

    #[test]
    fn findings_are_bounded_and_say_how_many_are_left_out() {
        let many = (0..FINDINGS_MAX + 7).map(|number| number.to_string()).collect();
        let Verdict::Failed { findings } = Verdict::of(many) else { panic!("failed") };
        assert_eq!(findings.len(), FINDINGS_MAX + 1);
        assert_eq!(findings.last().map(String::as_str), Some("and 7 more"));
    }
}
