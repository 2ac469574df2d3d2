//! What a payment is made of.

use std::borrow::Cow;
use std::fmt;

use crate::clock::EpochMs;

/// The payer's tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tier {
    /// 2% of users.
    Vip,
    /// 13%.
    Premium,
    /// 85%.
    Normal,
}

impl Tier {
    /// The tier written as `name`, if it is one.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        match name {
            "vip" => Some(Self::Vip),
            "premium" => Some(Self::Premium),
            "normal" => Some(Self::Normal),
            _ => None,
        }
    }

    /// As it is written in JSON and in the store.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vip => "vip",
            Self::Premium => "premium",
            Self::Normal => "normal",
        }
    }
}

/// One card payment. Text is borrowed from the JSON it was read from where that holds no escapes.
#[derive(Clone, PartialEq, Eq)]
pub struct Payment<'a> {
    /// The producer's identity of the payment: 1 to 64 bytes.
    pub tx_id: Cow<'a, str>,
    /// The full card number: 12 to 19 digits.
    pub card_number: Cow<'a, str>,
    /// Who pays: 1 to 100 bytes.
    pub user_id: Cow<'a, str>,
    /// The payer's tier.
    pub tier: Tier,
    /// KRW, 0 to `i64::MAX`.
    pub amount: i64,
    /// Where: 1 to 100 bytes.
    pub merchant: Cow<'a, str>,
    /// What for: 1 to 100 bytes.
    pub category: Cow<'a, str>,
    /// Event time.
    pub created_at_ms: EpochMs,
}

impl<'a> Payment<'a> {
    /// The same payment, holding its own text.
    #[must_use]
    pub fn into_owned(self) -> Payment<'static> {
        let own = |text: Cow<'a, str>| Cow::Owned(text.into_owned());
        Payment {
            tx_id: own(self.tx_id),
            card_number: own(self.card_number),
            user_id: own(self.user_id),
            tier: self.tier,
            amount: self.amount,
            merchant: own(self.merchant),
            category: own(self.category),
            created_at_ms: self.created_at_ms,
        }
    }
}

impl fmt::Debug for Payment<'_> {
    /// The card number is left out: debug output ends up in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Payment")
            .field("tx_id", &self.tx_id)
            .field("user_id", &self.user_id)
            .field("tier", &self.tier)
            .field("amount", &self.amount)
            .field("merchant", &self.merchant)
            .field("category", &self.category)
            .field("created_at_ms", &self.created_at_ms)
            .finish_non_exhaustive()
    }
}
