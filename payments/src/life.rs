//! The life of one operation, from being decided to its end, without any I/O: events and the time go in, the
//! next step comes out.
//!
//! * It is sent only when it certainly was not before, or when the provider, asked, does not have it. Then the
//!   provider's idempotency key keeps a request that is still on its way from counting twice.
//! * It is not sent any more once the provider may have forgotten that key.
//! * Every loop is bounded: sends, questions, and the time a pending one is waited for.
//! * What cannot be found out ends as [`Outcome::Unknown`], never as a refusal.

use crate::operation::{Operation, Outcome};
use crate::provider::{Attempt, Knowledge};
use novax_model::{Duration, Timestamp};

/// How patient a life is.
#[derive(Clone, Debug)]
pub struct Policy {
    /// How often it is sent at most.
    pub sends_max: u32,
    /// How often in a row the provider may fail to say what became of it.
    pub questions_max: u32,
    /// How long after it was decided it may still be sent: less than the provider keeps idempotency keys.
    pub send_within: Duration,
    /// How long after it was decided a pending one is waited for.
    pub pending_within: Duration,
    /// The first wait between two tries; each is twice the one before.
    pub wait_first: Duration,
    /// The longest wait.
    pub wait_max: Duration,
    /// How long one request may take.
    pub call_max: Duration,
}

impl Default for Policy {
    /// Stripe keeps keys for at least 24 hours; a payer has a day to prove who they are.
    fn default() -> Policy {
        Policy {
            sends_max: 8,
            questions_max: 20,
            send_within: Duration::from_secs(20 * 3600),
            pending_within: Duration::from_secs(24 * 3600),
            wait_first: Duration::from_millis(500),
            wait_max: Duration::from_secs(60),
            call_max: Duration::from_secs(35),
        }
    }
}

/// What happened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Event {
    /// The life begins.
    Begin,
    /// It was sent.
    Sent(Attempt),
    /// The provider was asked.
    Asked(Knowledge),
    /// The time waited for has come.
    Woken,
    /// The outcome was passed on.
    Told,
    /// The provider hinted that something changed.
    Hint,
}

/// What to do next.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Step {
    /// Send the operation once.
    Send,
    /// Ask the provider what became of it.
    Ask,
    /// Wait until then, or for a hint.
    Wait(Timestamp),
    /// Pass on an outcome that is not the end.
    Tell(Outcome),
    /// Go on with what is being done.
    Stay,
    /// Pass on the end. There is nothing after it.
    Finish(Outcome),
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    /// Not begun.
    New,
    Sending,
    Asking,
    Telling,
    /// Until then it waits, and sends after it.
    WaitingToSend(Timestamp),
    /// Until then it waits, and asks after it.
    WaitingToAsk(Timestamp),
    Ended,
}

/// One operation's life.
#[derive(Clone, Debug)]
pub struct Life {
    operation: Operation,
    policy: Policy,
    phase: Phase,
    /// Someone before us may have sent it: this process before it was restarted, or another leader.
    resumed: bool,
    /// A send had no clear answer: it may yet take effect.
    doubt: bool,
    sends: u32,
    /// Questions in a row without an answer.
    unanswered: u32,
    /// Tries since the last news, which set how long the next wait is.
    tries: u32,
    pending_told: bool,
}

impl Life {
    /// One that nobody can have sent before.
    #[must_use]
    pub fn fresh(operation: Operation, policy: Policy) -> Life {
        assert!(operation.is_sound(), "kind, target and amount fit: {operation:?}");
        assert!(policy.sends_max > 0 && policy.questions_max > 0, "something may be tried");
        assert!(!policy.wait_first.is_zero(), "tries are apart");
        Life {
            operation,
            policy,
            phase: Phase::New,
            resumed: false,
            doubt: false,
            sends: 0,
            unanswered: 0,
            tries: 0,
            pending_told: false,
        }
    }

    /// One that may have been sent before: it is asked for first.
    #[must_use]
    pub fn resumed(operation: Operation, policy: Policy) -> Life {
        Life { resumed: true, doubt: true, ..Life::fresh(operation, policy) }
    }

    /// What it is the life of.
    #[must_use]
    pub fn operation(&self) -> &Operation {
        &self.operation
    }

    /// How often it was sent in this life.
    #[must_use]
    pub fn sends(&self) -> u32 {
        self.sends
    }

    /// What follows from an event.
    ///
    /// # Panics
    /// When the event does not answer the step before: a mistake of the caller.
    pub fn next_step(&mut self, event: Event, now: Timestamp) -> Step {
        assert_ne!(self.phase, Phase::Ended, "nothing comes after the end");
        let step = match (self.phase, event) {
            (Phase::New, Event::Begin) if self.resumed => self.ask(),
            (Phase::New, Event::Begin) => self.send(now),
            (Phase::Sending, Event::Sent(attempt)) => self.sent(attempt, now),
            (Phase::Asking, Event::Asked(knowledge)) => self.asked(knowledge, now),
            (Phase::Telling, Event::Told) => self.wait_to_ask(now),
            (Phase::WaitingToSend(until), Event::Woken) if now >= until => self.send(now),
            (Phase::WaitingToAsk(until), Event::Woken) if now >= until => self.ask(),
            // Woken too early.
            (Phase::WaitingToSend(until) | Phase::WaitingToAsk(until), Event::Woken) => {
                Step::Wait(until)
            }
            (Phase::WaitingToAsk(_), Event::Hint) => self.ask(),
            // A hint changes nothing while there is an answer to come, and nothing was sent to hint at.
            (Phase::WaitingToSend(until), Event::Hint) => Step::Wait(until),
            (_, Event::Hint) => Step::Stay,
            (phase, event) => panic!("{event:?} while {phase:?}"),
        };
        assert!(self.sends <= self.policy.sends_max, "sends are bounded");
        assert!(self.unanswered <= self.policy.questions_max, "questions are bounded");
        step
    }

    fn may_send(&self, now: Timestamp) -> bool {
        self.sends < self.policy.sends_max && now.since(self.operation.at) < self.policy.send_within
    }

    fn send(&mut self, now: Timestamp) -> Step {
        if !self.may_send(now) {
            return self.give_up();
        }
        self.sends += 1;
        self.phase = Phase::Sending;
        Step::Send
    }

    fn ask(&mut self) -> Step {
        self.phase = Phase::Asking;
        Step::Ask
    }

    fn finish(&mut self, outcome: Outcome) -> Step {
        self.phase = Phase::Ended;
        Step::Finish(outcome)
    }

    /// Without doubt it was not done, for every send was turned away; with doubt nobody knows.
    fn give_up(&mut self) -> Step {
        if self.doubt {
            self.finish(Outcome::Unknown)
        } else {
            self.finish(Outcome::declined(crate::operation::Refusal::Unavailable, ""))
        }
    }

    fn sent(&mut self, attempt: Attempt, now: Timestamp) -> Step {
        match attempt {
            Attempt::Answered(Outcome::Unknown) => {
                self.doubt = true;
                self.wait_to_ask(now)
            }
            Attempt::Answered(outcome) => self.heard(outcome, now),
            Attempt::NotTaken { wait, .. } => {
                if !self.may_send(now) {
                    return self.give_up();
                }
                let until = now.saturating_add(self.pause().max(wait.unwrap_or_default()));
                self.phase = Phase::WaitingToSend(until);
                Step::Wait(until)
            }
        }
    }

    fn asked(&mut self, knowledge: Knowledge, now: Timestamp) -> Step {
        match knowledge {
            Knowledge::Found(Outcome::Unknown) | Knowledge::Unanswered(_) => {
                self.unanswered += 1;
                if self.unanswered >= self.policy.questions_max {
                    return self.finish(Outcome::Unknown);
                }
                self.wait_to_ask(now)
            }
            Knowledge::Found(outcome) => self.heard(outcome, now),
            Knowledge::Absent => {
                self.unanswered = 0;
                self.send(now)
            }
        }
    }

    fn heard(&mut self, outcome: Outcome, now: Timestamp) -> Step {
        assert_ne!(outcome, Outcome::Unknown, "that is no news");
        self.unanswered = 0;
        if outcome.is_definite() {
            return self.finish(outcome);
        }
        // It was taken up: whatever ends it, it may have moved money.
        self.doubt = true;
        if now.since(self.operation.at) >= self.policy.pending_within {
            return self.finish(Outcome::Unknown);
        }
        if self.pending_told {
            return self.wait_to_ask(now);
        }
        self.pending_told = true;
        self.tries = 0;
        self.phase = Phase::Telling;
        Step::Tell(outcome)
    }

    fn wait_to_ask(&mut self, now: Timestamp) -> Step {
        let until = now.saturating_add(self.pause());
        self.phase = Phase::WaitingToAsk(until);
        Step::Wait(until)
    }

    /// The next wait: doubled each time, and spread by the operation's id so that many do not come at once.
    fn pause(&mut self) -> Duration {
        let doubled = 1_u32.checked_shl(self.tries.min(20)).expect("twenty is less than 32");
        self.tries = self.tries.saturating_add(1);
        let longest = self.policy.wait_first.saturating_mul(doubled).min(self.policy.wait_max);
        // Between half of it and all of it.
        let bits = self.operation.id.0.wrapping_mul(0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c834);
        let share = u32::try_from((bits >> 96) % 512).expect("less than 512");
        longest / 1024 * (512 + share)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operation::{OperationId, OperationKind, ProviderRef, Refusal, Target};
    use novax_model::Currency;
    use proptest::prelude::*;

    fn operation(kind: OperationKind) -> Operation {
        Operation {
            id: OperationId(7),
            kind,
            target: Target::Payment(ProviderRef::new("pi_1").unwrap()),
            amount: 100,
            currency: Currency::EUR,
            at: Timestamp(0),
            subject: "session 1".into(),
        }
    }

    fn done() -> Outcome {
        Outcome::Succeeded { reference: ProviderRef::new("pi_1").unwrap(), amount: 100 }
    }

    fn pending() -> Outcome {
        Outcome::Pending { reference: ProviderRef::new("pi_1").unwrap(), challenge: None }
    }

    fn not_taken() -> Event {
        Event::Sent(Attempt::NotTaken { wait: None, reason: "429".into() })
    }

    /// A life, with a clock that jumps to where it waits for.
    struct Run {
        life: Life,
        now: Timestamp,
    }

    impl Run {
        fn fresh() -> Run {
            let life = Life::fresh(operation(OperationKind::Capture), Policy::default());
            Run { life, now: Timestamp(0) }
        }

        /// The next step that is not a wait.
        fn step(&mut self, event: Event) -> Step {
            let mut step = self.life.next_step(event, self.now);
            while let Step::Wait(until) = step {
                assert!(until > self.now, "time goes on");
                self.now = until;
                step = self.life.next_step(Event::Woken, self.now);
            }
            step
        }
    }

    #[test]
    fn an_answer_ends_it() {
        let mut run = Run::fresh();
        assert_eq!(run.step(Event::Begin), Step::Send);
        assert_eq!(run.step(Event::Sent(Attempt::Answered(done()))), Step::Finish(done()));
    }

    #[test]
    fn an_unknown_answer_is_asked_for_before_it_is_sent_again() {
        let mut run = Run::fresh();
        run.step(Event::Begin);
        assert_eq!(run.step(Event::Sent(Attempt::Answered(Outcome::Unknown))), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Unanswered("down".into()))), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Absent)), Step::Send);
        assert_eq!(run.step(Event::Sent(Attempt::Answered(Outcome::Unknown))), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Found(done()))), Step::Finish(done()));
        assert_eq!(run.life.sends(), 2);
    }

    #[test]
    fn one_that_may_have_been_sent_is_asked_for_first() {
        let life = Life::resumed(operation(OperationKind::Refund), Policy::default());
        let mut run = Run { life, now: Timestamp(0) };
        assert_eq!(run.step(Event::Begin), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Absent)), Step::Send);
    }

    #[test]
    fn one_turned_away_every_time_is_refused_and_not_unknown() {
        let mut run = Run::fresh();
        let mut step = run.step(Event::Begin);
        let mut sends = 0;
        while step == Step::Send {
            sends += 1;
            step = run.step(not_taken());
        }
        assert_eq!(sends, Policy::default().sends_max);
        assert_eq!(step, Step::Finish(Outcome::declined(Refusal::Unavailable, "")));
    }

    #[test]
    fn one_in_doubt_is_unknown_though_the_last_send_was_turned_away() {
        let mut run = Run::fresh();
        run.step(Event::Begin);
        run.step(Event::Sent(Attempt::Answered(Outcome::Unknown)));
        let mut step = run.step(Event::Asked(Knowledge::Absent));
        while step == Step::Send {
            step = run.step(not_taken());
        }
        assert_eq!(step, Step::Finish(Outcome::Unknown));
    }

    #[test]
    fn nothing_is_sent_once_the_provider_may_have_forgotten_the_key() {
        let mut run = Run::fresh();
        run.step(Event::Begin);
        run.step(Event::Sent(Attempt::Answered(Outcome::Unknown)));
        run.now = Timestamp(0).saturating_add(Policy::default().send_within);
        assert_eq!(run.step(Event::Asked(Knowledge::Absent)), Step::Finish(Outcome::Unknown));
    }

    #[test]
    fn a_pending_one_is_told_once_and_asked_for_until_its_end() {
        let mut run = Run::fresh();
        run.step(Event::Begin);
        assert_eq!(run.step(Event::Sent(Attempt::Answered(pending()))), Step::Tell(pending()));
        assert_eq!(run.step(Event::Told), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Found(pending()))), Step::Ask);
        assert_eq!(run.step(Event::Asked(Knowledge::Found(done()))), Step::Finish(done()));
    }

    #[test]
    fn a_pending_one_without_end_is_given_up_as_unknown() {
        let mut run = Run::fresh();
        run.step(Event::Begin);
        run.step(Event::Sent(Attempt::Answered(pending())));
        let mut step = run.step(Event::Told);
        let mut asks = 0;
        while step == Step::Ask {
            asks += 1;
            step = run.step(Event::Asked(Knowledge::Found(pending())));
        }
        assert_eq!(step, Step::Finish(Outcome::Unknown));
        assert!(asks < 3600, "{asks} questions in a day");
    }

    #[test]
    fn a_hint_asks_at_once_and_never_sends() {
        let mut run = Run::fresh();
        assert_eq!(run.step(Event::Begin), Step::Send);
        assert_eq!(run.life.next_step(Event::Hint, run.now), Step::Stay);
        let step = run.life.next_step(Event::Sent(Attempt::Answered(Outcome::Unknown)), run.now);
        assert!(matches!(step, Step::Wait(_)));
        assert_eq!(run.life.next_step(Event::Hint, run.now), Step::Ask);

        let mut run = Run::fresh();
        run.step(Event::Begin);
        let step = run.life.next_step(not_taken(), run.now);
        assert!(matches!(step, Step::Wait(_)));
        assert_eq!(run.life.next_step(Event::Hint, run.now), step);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(300))]

        /// Whatever the provider does: it ends, within its bounds, and no send follows an unclear one
        /// without the provider having said, in between, that it has it not.
        #[test]
        fn every_life_ends_and_never_sends_blindly(
            resumed: bool,
            answers in proptest::collection::vec(0_u8..6, 1..40),
        ) {
            let policy = Policy { sends_max: 4, questions_max: 5, ..Policy::default() };
            let operation = operation(OperationKind::Capture);
            let life = if resumed { Life::resumed(operation, policy) } else { Life::fresh(operation, policy) };
            let mut run = Run { life, now: Timestamp(0) };
            let (mut clear, mut steps) = (!resumed, 0);
            let mut step = run.step(Event::Begin);
            let mut answers = answers.into_iter().cycle();
            while !matches!(step, Step::Finish(_)) {
                steps += 1;
                prop_assert!(steps < 20_000);
                let answer = answers.next().expect("a cycle");
                step = match (step, answer) {
                    (Step::Send, answer) => {
                        prop_assert!(clear, "sent blindly");
                        let attempt = match answer {
                            0 | 1 => Attempt::NotTaken { wait: None, reason: String::new() },
                            2 | 3 => Attempt::Answered(Outcome::Unknown),
                            4 => Attempt::Answered(pending()),
                            _ => Attempt::Answered(done()),
                        };
                        clear = matches!(attempt, Attempt::NotTaken { .. });
                        run.step(Event::Sent(attempt))
                    }
                    (Step::Ask, answer) => {
                        let knowledge = match answer {
                            0 | 1 => Knowledge::Absent,
                            2 | 3 => Knowledge::Unanswered(String::new()),
                            4 => Knowledge::Found(pending()),
                            _ => Knowledge::Found(done()),
                        };
                        clear = knowledge == Knowledge::Absent;
                        run.step(Event::Asked(knowledge))
                    }
                    (Step::Tell(_), _) => run.step(Event::Told),
                    (step, _) => panic!("{step:?}"),
                };
            }
        }
    }
}
