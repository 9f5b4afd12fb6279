//! Users and service accounts, their roles and their keys.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString};

/// A role, with the name that Omni shows. Each role includes the previous ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, AsRefStr, EnumString)]
pub enum Role {
    /// No permissions beyond a valid signature.
    None,
    /// Access to the resources of one provider.
    InfraProvider,
    Reader,
    Operator,
    Admin,
}

/// A public key that an account can sign with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKey {
    /// Fingerprint in lower-case hex.
    pub id: String,
    /// When it was registered, in seconds since 1970.
    pub created: i64,
    pub expires: i64,
}

/// A service account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// Name including the prefix, e.g. `automation` or `infra-provider:proxmox`.
    pub name: String,
    pub role: Role,
    /// ID of its user resource.
    pub user_id: String,
    /// Its keys, oldest first.
    pub keys: Vec<PublicKey>,
}
