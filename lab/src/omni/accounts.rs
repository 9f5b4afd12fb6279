//! Users and service accounts, their roles and their keys.

use serde::{Deserialize, Serialize};
use strum::{AsRefStr, EnumString};

/// A role, by the name that Omni shows; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, AsRefStr, EnumString)]
pub enum Role {
    /// Nothing but a valid signature.
    None,
    /// Its own provider's resources.
    InfraProvider,
    Reader,
    Operator,
    Admin,
}

/// A public key that an account may sign with.
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
    /// The name with its prefix: `automation`, or `infra-provider:proxmox`.
    pub name: String,
    pub role: Role,
    /// The id of its user resource.
    pub user_id: String,
    /// Its keys, oldest first.
    pub keys: Vec<PublicKey>,
}
