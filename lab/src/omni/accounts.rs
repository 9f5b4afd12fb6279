//! Users and service accounts, their roles and their keys.

use serde::{Deserialize, Serialize};

/// A role; each includes the ones before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Role {
    /// Nothing but a valid signature.
    None,
    /// Its own provider's resources.
    InfraProvider,
    Reader,
    Operator,
    Admin,
}

impl Role {
    /// The name that Omni shows.
    pub fn name(self) -> &'static str {
        match self {
            Role::None => "None",
            Role::InfraProvider => "InfraProvider",
            Role::Reader => "Reader",
            Role::Operator => "Operator",
            Role::Admin => "Admin",
        }
    }

    /// The role of this name.
    pub fn parse(name: &str) -> Option<Role> {
        [Role::None, Role::InfraProvider, Role::Reader, Role::Operator, Role::Admin]
            .into_iter()
            .find(|role| role.name() == name)
    }
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
