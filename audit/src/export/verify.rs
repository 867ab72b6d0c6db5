//! Reads an export as an auditor who trusts nothing but public keys, and perhaps a head seen
//! before. Stops at the first thing that is wrong and says where it is.
//!
//! What can be said of a change depends on who made it. One who does not redo the check sums, as a
//! broken disk or an editor, is found to the byte. One who redoes them all cannot redo the
//! signatures: with proofs in the export the forged transaction is named, without them the range
//! between two heads. What no head covers yet is vouched for by nobody, and counted apart.

use std::fmt;
use std::io::Read;

use novax_model::{Amount, Currency, PartitionId, Timestamp};

use super::books::Books;
use super::reader::{Place, Reader};
use super::record::Kind;
use crate::bytes::Cursor;
use crate::canonical::Transaction;
use crate::error::{AuditError, Tampered, What};
use crate::hash::{Hash, to_hex};
use crate::head::{PublicKeys, Rotation, SignedHead, TreeHead};
use crate::merkle::{Tree, leaf_hash, verify_inclusion};

/// Debits, which equal credits, of all accounts of a currency.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Which currency.
    pub currency: Currency,
    /// What moved, in the export.
    pub moved: Amount,
    /// What is set aside at its end.
    pub held: Amount,
}

/// What a genuine export holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Whose journal.
    pub partition: PartitionId,
    /// How many transactions came before the export.
    pub base: u64,
    /// How many there are with it.
    pub size: u64,
    /// The root over them.
    pub root: Hash,
    /// How many of them, from the first, a signature vouches for.
    pub signed: u64,
    /// The last signed head.
    pub head: Option<TreeHead>,
    /// How many heads were checked.
    pub heads: u64,
    /// Whether the head that was trusted beforehand was compared. It cannot be when it is older
    /// than the export's beginning.
    pub was_trusted_compared: bool,
    /// Journal rows.
    pub rows: u64,
    /// Accounts that they touched.
    pub accounts: u64,
    /// Holds that are open at the end.
    pub open_holds: u64,
    /// How often a set or hold from before the export had to be taken on trust.
    pub on_trust: u64,
    /// Booking times of the first and the last transaction.
    pub booked: Option<(Timestamp, Timestamp)>,
    /// Per currency.
    pub trial_balance: Vec<Trial>,
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "partition {}", self.partition)?;
        writeln!(f, "transactions {} to {}, {} rows", self.base, self.size, self.rows)?;
        if let Some((first, last)) = self.booked {
            writeln!(f, "booked {first} to {last}")?;
        }
        writeln!(f, "root {}", to_hex(&self.root))?;
        writeln!(f, "vouched for by {} heads: {} of {}", self.heads, self.signed, self.size)?;
        if !self.was_trusted_compared {
            writeln!(f, "not compared with an earlier head")?;
        }
        writeln!(f, "accounts {}, open holds {}", self.accounts, self.open_holds)?;
        if self.on_trust > 0 {
            writeln!(f, "references to before the export, on trust: {}", self.on_trust)?;
        }
        for Trial { currency, moved, held } in &self.trial_balance {
            let (moved, held) = (currency.format(*moved), currency.format(*held));
            writeln!(f, "debits = credits: {moved} moved, {held} held")?;
        }
        Ok(())
    }
}

/// Verifies an export. `keys` are trusted at its beginning; rotations in it are followed.
/// `trusted` is a head that the verifier remembers: the export must hold to it.
///
/// # Errors
/// [`AuditError::Tampered`] with the first place that is wrong; [`AuditError::Io`].
pub fn verify(
    input: impl Read,
    keys: &PublicKeys,
    trusted: Option<&TreeHead>,
) -> Result<Report, AuditError> {
    let mut reader = Reader::new(input)?;
    let first = reader.next(0)?;
    let place = first.place;
    if first.kind != Kind::Start {
        return Err(malformed(place, "the first record is the start"));
    }
    let start = Beginning::read(first.body).map_err(|why| within(place, why))?;
    let mut verifier = Verifier::new(start, keys, trusted, place)?;
    loop {
        let record = reader.next(verifier.tree.size())?;
        let (kind, place, body) = (record.kind, record.place, record.body);
        match kind {
            Kind::Start => return Err(malformed(place, "there is only one start")),
            Kind::Head => verifier.head(body, place)?,
            Kind::Rotation => verifier.rotation(body, place)?,
            Kind::Transaction => verifier.transaction(body, place)?,
            Kind::Proof => verifier.proof(body, place)?,
            Kind::End => {
                let report = verifier.end(body, place)?;
                reader.end()?;
                return Ok(report);
            }
        }
    }
}

fn malformed(place: Place, what: &'static str) -> AuditError {
    place.tampered(What::Malformed(AuditError::Malformed { at: 0, what }))
}

/// The offset of a decoding error is within the body.
fn within(place: Place, why: AuditError) -> AuditError {
    let at = if let AuditError::Malformed { at, .. } = why { at } else { 0 };
    place.tampered_at(super::record::HEAD_BYTES + at, What::Malformed(why))
}

/// What the start says.
struct Beginning {
    partition: PartitionId,
    with_proofs: bool,
    next_journal: u64,
    tree: Tree,
}

impl Beginning {
    fn read(body: &[u8]) -> Result<Self, AuditError> {
        const SHORT: &str = "the start has 19 bytes and a hash for each peak";
        let mut cursor = Cursor::new(body);
        let partition = PartitionId(cursor.u16(SHORT)?);
        let with_proofs = match cursor.u8(SHORT)? {
            0 => false,
            1 => true,
            _ => return Err(AuditError::Malformed { at: 2, what: "a flag is 0 or 1" }),
        };
        let size = cursor.u64(SHORT)?;
        let next_journal = cursor.u64(SHORT)?;
        let mut frontier = Vec::new();
        for _ in 0..size.count_ones() {
            frontier.push(cursor.array(SHORT)?);
        }
        cursor.end()?;
        if size == 0 && next_journal != 0 {
            let what = "the first transaction has the first journal row";
            return Err(AuditError::Malformed { at: 11, what });
        }
        let tree = Tree::from_parts(size, frontier)?;
        Ok(Self { partition, with_proofs, next_journal, tree })
    }
}

/// What has been verified so far.
struct Verifier<'a> {
    partition: PartitionId,
    with_proofs: bool,
    keys: PublicKeys,
    trusted: Option<&'a TreeHead>,
    base: u64,
    tree: Tree,
    books: Books,
    /// The last head; its transactions may still be coming.
    head: Option<TreeHead>,
    heads: u64,
    signed: u64,
    was_trusted_compared: bool,
    /// The leaf of a transaction whose proof is due, where that stands.
    due_proof: Option<(Hash, Place)>,
    /// The first transaction that no root has vouched for.
    unproven: Option<Place>,
    unproven_size: u64,
    booked: Option<(Timestamp, Timestamp)>,
    last_index: u64,
}

impl<'a> Verifier<'a> {
    fn new(
        start: Beginning,
        keys: &PublicKeys,
        trusted: Option<&'a TreeHead>,
        place: Place,
    ) -> Result<Self, AuditError> {
        let base = start.tree.size();
        let mut verifier = Self {
            partition: start.partition,
            with_proofs: start.with_proofs,
            keys: keys.clone(),
            trusted,
            base,
            books: Books::new(base == 0, start.next_journal),
            tree: start.tree,
            head: None,
            heads: 0,
            signed: 0,
            was_trusted_compared: false,
            due_proof: None,
            unproven: None,
            unproven_size: base,
            booked: None,
            last_index: 0,
        };
        if trusted.is_some_and(|trusted| trusted.partition != start.partition) {
            return Err(malformed(place, "the trusted head is of another partition"));
        }
        verifier.compare_roots(place)?;
        Ok(verifier)
    }

    fn head(&mut self, body: &[u8], place: Place) -> Result<(), AuditError> {
        self.no_proof_is_due(place)?;
        let signed = SignedHead::from_bytes(body).map_err(|why| within(place, why))?;
        self.keys.verify(&signed).map_err(|why| place.tampered(What::NotVouchedFor(why)))?;
        let head = signed.head;
        if self.awaits_transactions() {
            return Err(malformed(place, "transactions of the head before are missing"));
        }
        if head.partition != self.partition || head.size < self.tree.size() {
            return Err(malformed(place, "the head is of another partition, or too old"));
        }
        let goes_back = |last: TreeHead| head.at < last.at || head.log_index < last.log_index;
        if self.head.is_some_and(goes_back) || head.log_index < self.last_index {
            return Err(malformed(place, "the head is older than the one before"));
        }
        self.head = Some(head);
        self.heads += 1;
        self.compare_roots(place)
    }

    fn rotation(&mut self, body: &[u8], place: Place) -> Result<(), AuditError> {
        self.no_proof_is_due(place)?;
        let rotation = Rotation::from_bytes(body).map_err(|why| within(place, why))?;
        self.keys.follow(&rotation).map_err(|why| place.tampered(What::NotVouchedFor(why)))
    }

    fn transaction(&mut self, body: &[u8], place: Place) -> Result<(), AuditError> {
        self.no_proof_is_due(place)?;
        let number = self.tree.size();
        // First what a signature can say, then what the format and the books can.
        let leaf = leaf_hash(body);
        let is_covered = self.awaits_transactions();
        let _stored = self.tree.append(leaf);
        self.unproven.get_or_insert(place);
        let transaction = Transaction::decode(body);
        let key = transaction.as_ref().ok().map(|transaction| transaction.first().key);
        let blame = |error| blame(error, number, key);
        let transaction = transaction.map_err(|why| blame(within(place, why)))?;
        let first = transaction.first();
        if transaction.partition != self.partition {
            return Err(blame(malformed(place, "the transaction is of another partition")));
        }
        if is_covered && self.head.is_some_and(|head| first.index > head.log_index) {
            return Err(blame(malformed(place, "it was booked after the head that covers it")));
        }
        let booked = self.books.book(&transaction);
        booked.map_err(|why| blame(place.tampered(What::Books(why.into()))))?;
        self.last_index = first.index;
        self.booked = Some((self.booked.map_or(first.at, |(begin, _)| begin), first.at));
        if self.with_proofs && is_covered {
            self.due_proof = Some((leaf, place));
            return Ok(());
        }
        self.compare_roots(place)
    }

    fn proof(&mut self, body: &[u8], place: Place) -> Result<(), AuditError> {
        let Some(((leaf, of), head)) = self.due_proof.take().zip(self.head) else {
            return Err(malformed(place, "no transaction asks for this proof"));
        };
        let (hashes, rest) = body.as_chunks::<32>();
        if !rest.is_empty() {
            return Err(malformed(place, "a proof consists of hashes"));
        }
        let number = self.tree.size() - 1;
        let verified = verify_inclusion(&leaf, number, head.size, hashes, &head.root);
        verified.map_err(|_| blame(of.tampered(What::ProofWrong), number, None))?;
        self.compare_roots(place)
    }

    fn end(mut self, body: &[u8], place: Place) -> Result<Report, AuditError> {
        self.no_proof_is_due(place)?;
        let mut cursor = Cursor::new(body);
        const SHORT: &str = "the end has 40 bytes";
        let mut read = || {
            let (size, root) = (cursor.u64(SHORT)?, cursor.array(SHORT)?);
            cursor.end()?;
            Ok((size, root))
        };
        let (size, root): (u64, Hash) = read().map_err(|why| within(place, why))?;
        if self.awaits_transactions() {
            return Err(malformed(place, "transactions of the last head are missing"));
        }
        if (size, root) != (self.tree.size(), self.tree.root()) {
            return Err(malformed(place, "the end names another tree"));
        }
        if let Some(trusted) = self.trusted.filter(|trusted| trusted.size > size) {
            return Err(place.tampered(What::Shortened { trusted: trusted.size }));
        }
        let wrong = |why: String| place.tampered(What::Books(why.into()));
        let balances = self.books.trial_balance().map_err(wrong)?;
        let trial = |(currency, sums): (Currency, super::books::Sums)| Trial {
            currency,
            moved: sums.debits,
            held: sums.held_debits,
        };
        Ok(Report {
            partition: self.partition,
            base: self.base,
            size,
            root,
            signed: self.signed,
            head: self.head,
            heads: self.heads,
            was_trusted_compared: self.was_trusted_compared,
            rows: self.books.rows,
            accounts: self.books.accounts(),
            open_holds: self.books.open_holds(),
            on_trust: self.books.on_trust,
            booked: self.booked.take(),
            trial_balance: balances.into_iter().map(trial).collect(),
        })
    }

    fn awaits_transactions(&self) -> bool {
        self.head.is_some_and(|head| head.size > self.tree.size())
    }

    fn no_proof_is_due(&self, place: Place) -> Result<(), AuditError> {
        match self.due_proof {
            Some(_) => Err(malformed(place, "the proof of the transaction before is missing")),
            None => Ok(()),
        }
    }

    /// Where a head or the trusted head has the tree's size, it must have its root.
    fn compare_roots(&mut self, place: Place) -> Result<(), AuditError> {
        let size = self.tree.size();
        let head = self.head.filter(|head| head.size == size);
        let trusted = self.trusted.filter(|trusted| trusted.size == size);
        if head.is_none() && trusted.is_none() {
            return Ok(());
        }
        let root = self.tree.root();
        let roots = head.iter().chain(trusted).map(|head| head.root);
        if roots.into_iter().any(|expected| expected != root) {
            let from = self.unproven.unwrap_or(place);
            let error = from.tampered(What::RootDiffers { until: size });
            return Err(blame(error, self.unproven_size, None));
        }
        self.was_trusted_compared |= trusted.is_some();
        if head.is_some() {
            self.signed = size;
        }
        self.unproven = None;
        self.unproven_size = size;
        Ok(())
    }
}

/// Says which transaction an error is about.
fn blame(error: AuditError, transaction: u64, key: Option<novax_model::TransferKey>) -> AuditError {
    let AuditError::Tampered(tampered) = error else { return error };
    let blamed = Tampered { transaction: Some(transaction), key, ..*tampered };
    AuditError::Tampered(Box::new(blamed))
}
