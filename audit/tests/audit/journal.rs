//! A journal that a real ledger wrote, and its export: what the other tests change.

use ed25519_dalek::SigningKey;
use novax_audit::merkle::{MemoryNodes, inclusion_proof};
use novax_audit::{
    AuditError, Hash, PublicKeys, Report, Rotation, SignedHead, Start, Tampered, Tree, TreeHead,
    Writer, canonical, chain, merkle, verify,
};
use novax_ledger::{Code, HoldId, JournalRow, Ledger, Leg, Limit, Opening, RateId, Stamp};
use novax_model::{AccountId, Amount, Currency, PartitionId, Timestamp, TransferKey};

pub(crate) const PARTITION: PartitionId = PartitionId(7);
pub(crate) const WALLET: AccountId = AccountId(1);
pub(crate) const HOST: AccountId = AccountId(2);
pub(crate) const STATE: AccountId = AccountId(3);
pub(crate) const BANK: AccountId = AccountId(4);
const FX_EUR: AccountId = AccountId(5);
const FX_CHF: AccountId = AccountId(6);
const HOST_CHF: AccountId = AccountId(7);

pub(crate) fn signing_key(number: u8) -> SigningKey {
    SigningKey::from_bytes(&[number; 32])
}

pub(crate) fn public_keys() -> PublicKeys {
    PublicKeys::new(signing_key(1).verifying_key().as_bytes()).unwrap()
}

pub(crate) fn chf() -> Currency {
    Currency::new("CHF").unwrap()
}

fn post(debit: AccountId, credit: AccountId, amount: Amount, code: Code) -> Leg {
    Leg::Post { debit, credit, amount, code }
}

/// Books sets one after the other, each in a log entry of its own.
pub(crate) struct Bookkeeper {
    pub(crate) ledger: Ledger,
    pub(crate) index: u64,
}

impl Bookkeeper {
    pub(crate) fn new() -> Self {
        let mut ledger = Ledger::new();
        let accounts = [
            (WALLET, "wallets/1", Currency::EUR, Limit::DebitsMustNotExceedCredits),
            (HOST, "hosts/1", Currency::EUR, Limit::None),
            (STATE, "tax/DE", Currency::EUR, Limit::None),
            (BANK, "bank", Currency::EUR, Limit::None),
            (FX_EUR, "fx/EUR", Currency::EUR, Limit::None),
            (FX_CHF, "fx/CHF", chf(), Limit::None),
            (HOST_CHF, "hosts/2", chf(), Limit::None),
        ];
        for (id, name, currency, limit) in accounts {
            ledger.open_account(Timestamp(1), Opening::new(id, name, currency, limit)).unwrap();
        }
        Self { ledger, index: 10 }
    }

    pub(crate) fn stamp(&mut self) -> Stamp {
        self.index += 1;
        let at = Timestamp(1_795_353_264_000_000 + self.index * 1_000_000);
        Stamp::now(self.index, at)
    }

    pub(crate) fn post(&mut self, key: u128, legs: &[Leg]) {
        let stamp = self.stamp();
        self.ledger.post(stamp, TransferKey(key), legs).unwrap();
    }

    pub(crate) fn rows(&mut self) -> Vec<JournalRow> {
        self.ledger.take_changes().journal().to_vec()
    }
}

/// A deposit, a hold that is raised, posted in part and split, one that is voided, one that
/// expires, a refund, a reversal, an exchange.
pub(crate) fn charge_journal() -> Vec<JournalRow> {
    let mut books = Bookkeeper::new();
    let hold = |key| HoldId { key: TransferKey(key), leg: 0 };
    let set_aside = |amount, expires| Leg::Hold {
        debit: WALLET,
        credit: HOST,
        amount,
        code: Code::Hold,
        expires,
    };
    books.post(0xD0, &[post(BANK, WALLET, 10_000, Code::Deposit)]);
    books.post(0xA0, &[set_aside(2_000, Timestamp::MAX)]);
    let raise = Leg::RaiseHold { hold: hold(0xA0), more: 500, expires: Timestamp::MAX };
    books.post(0xA1, &[raise]);
    let settle = [
        Leg::PostHold { hold: hold(0xA0), amount: 1_234, code: Code::Energy },
        post(HOST, STATE, 197, Code::Tax),
    ];
    books.post(0xA2, &settle);
    books.post(0xB0, &[set_aside(700, Timestamp::MAX)]);
    books.post(0xB1, &[Leg::VoidHold { hold: hold(0xB0), code: Code::Release }]);
    let soon = Timestamp(1_795_353_264_000_000 + (books.index + 2) * 1_000_000);
    books.post(0xC0, &[set_aside(300, soon)]);
    let stamp = books.stamp();
    assert_eq!(books.ledger.expire(stamp, 10), [hold(0xC0)]);
    let rate = RateId(0x3A7E);
    let convert =
        |debit, credit, amount| Leg::Convert { debit, credit, amount, code: Code::Fx, rate };
    books.post(0xE0, &[convert(HOST, FX_EUR, 100), convert(FX_CHF, HOST_CHF, 96)]);
    let rows = books.rows();
    let of = |key| -> Vec<JournalRow> {
        rows.iter().filter(|row| row.key == TransferKey(key)).cloned().collect()
    };
    let (stamp, key) = (books.stamp(), TransferKey(0xF0));
    books.ledger.refund(stamp, key, TransferKey(0xA2), &of(0xA2), 234, Code::Refund).unwrap();
    let (stamp, key) = (books.stamp(), TransferKey(0xF1));
    books.ledger.reverse(stamp, key, TransferKey(0xE0), &of(0xE0), Code::Reversal).unwrap();
    [rows, books.rows()].concat()
}

/// A journal as it lies on a node: transactions, the tree over them, heads.
pub(crate) struct Journal {
    pub(crate) transactions: Vec<Vec<JournalRow>>,
    pub(crate) nodes: MemoryNodes,
    pub(crate) trees: Vec<Tree>,
}

impl Journal {
    pub(crate) fn new(rows: &[JournalRow]) -> Self {
        let transactions: Vec<Vec<JournalRow>> =
            canonical::transactions(rows).map(<[JournalRow]>::to_vec).collect();
        let (mut nodes, mut tree) = (MemoryNodes::default(), Tree::new());
        let mut trees = vec![tree.clone()];
        for rows in &transactions {
            let mut encoded = Vec::new();
            canonical::encode(PARTITION, rows, &mut encoded).unwrap();
            nodes.extend(tree.append(merkle::leaf_hash(&encoded)));
            trees.push(tree.clone());
        }
        Self { transactions, nodes, trees }
    }

    pub(crate) fn head(&self, size: u64, key: &SigningKey) -> SignedHead {
        let rows = self.transactions[..size as usize].last();
        let (log_index, at) = rows.map_or((0, Timestamp(0)), |rows| (rows[0].index, rows[0].at));
        let head = TreeHead {
            partition: PARTITION,
            size,
            root: self.trees[size as usize].root(),
            log_index,
            log_chain: chain::link(&chain::genesis(PARTITION), log_index, b"entry"),
            at,
        };
        head.sign(key)
    }

    pub(crate) fn proof(&self, number: u64, size: u64) -> Vec<Hash> {
        inclusion_proof(&self.nodes, number, size).unwrap()
    }

    /// Exports what stands between two sizes, with heads at `heads`; each signed by the first key,
    /// those after a rotation at `rotate` by the second.
    pub(crate) fn export(
        &self,
        from: u64,
        heads: &[u64],
        with_proofs: bool,
        rotate: Option<u64>,
    ) -> Vec<u8> {
        let start = Start {
            partition: PARTITION,
            tree: self.trees[from as usize].clone(),
            next_journal: self.transactions[..from as usize].iter().map(|t| t.len() as u64).sum(),
            with_proofs,
        };
        let mut writer = Writer::new(Vec::new(), &start).unwrap();
        let mut key = signing_key(1);
        let mut heads = heads.iter().copied().peekable();
        let mut covering = from;
        for number in from..=self.transactions.len() as u64 {
            if number == covering
                && let Some(size) = heads.next()
            {
                if rotate.is_some_and(|at| size >= at) && key == signing_key(1) {
                    let at = self.head(size, &key).head.at;
                    writer.rotation(&Rotation::sign(&key, &signing_key(2), at)).unwrap();
                    key = signing_key(2);
                }
                writer.head(&self.head(size, &key)).unwrap();
                covering = size;
            }
            let Some(rows) = self.transactions.get(number as usize) else { break };
            let needs_proof = with_proofs && number < covering;
            let proof = needs_proof.then(|| self.proof(number, covering));
            writer.transaction(rows, proof.as_deref()).unwrap();
        }
        writer.finish().unwrap()
    }
}

/// Verifies with the first key; what was found wrong, if anything.
pub(crate) fn check(export: &[u8]) -> Result<Report, Box<Tampered>> {
    check_with(export, None)
}

pub(crate) fn check_with(
    export: &[u8],
    trusted: Option<&TreeHead>,
) -> Result<Report, Box<Tampered>> {
    verify(export, &public_keys(), trusted).map_err(|error| match error {
        AuditError::Tampered(tampered) => tampered,
        other => panic!("{other}"),
    })
}
