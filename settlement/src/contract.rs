//! Placeholder until the real one is merged.
#![allow(missing_debug_implementations)]
use novax_model::{Amount, Currency};
use rkyv::{Archive, Deserialize, Serialize};
#[derive(Archive, Serialize, Deserialize, Clone, PartialEq, Eq, Debug)]
pub struct RevenueContract { pub currency: Currency, pub host: Box<str>, pub host_ppm: u32, pub platform_ppm: u32 }
#[derive(Debug)]
pub struct Hash(pub [u8; 32]);
#[derive(Debug)]
pub struct Base { pub gross: Amount, pub net: Amount, pub energy_wh: i64 }
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Purpose { SiteHost, Operator, Platform }
#[derive(Debug)]
pub struct Share { pub party: Box<str>, pub purpose: Purpose, pub amount: Amount }
impl RevenueContract {
    pub fn check(&self) -> Result<(), String> { Ok(()) }
    pub fn parties(&self) -> impl Iterator<Item = &str> { [&*self.host, "operator", "platform"].into_iter() }
    pub fn hash(&self) -> Hash {
        let mut h = [0; 32];
        h[..3].copy_from_slice(&self.currency.bytes());
        h[3..7].copy_from_slice(&self.host_ppm.to_le_bytes());
        h[7..11].copy_from_slice(&self.platform_ppm.to_le_bytes());
        for (i, b) in self.host.bytes().enumerate() { h[11 + i % 21] ^= b; }
        Hash(h)
    }
    pub fn split(&self, base: &Base) -> Vec<Share> {
        let of = |ppm: u32| base.net * u128::from(ppm) / 1_000_000;
        let (host, platform) = (of(self.host_ppm), of(self.platform_ppm));
        vec![
            Share { party: self.host.clone(), purpose: Purpose::SiteHost, amount: host },
            Share { party: "operator".into(), purpose: Purpose::Operator, amount: base.net - host - platform },
            Share { party: "platform".into(), purpose: Purpose::Platform, amount: platform },
        ]
    }
}
