//! The simulated part of omnictl's command line (siderolabs/omni v1.9.3 client/pkg/omnictl): the commands that the tasks
//! call and those that their hints name. All other commands of the real program are rejected.

use clap::{Args, Parser, Subcommand, ValueEnum};

/// A call of omnictl.
#[derive(Debug, Parser)]
#[command(name = "omnictl", disable_help_flag = true, disable_help_subcommand = true)]
pub struct Omnictl {
    #[arg(short, long)]
    pub version: bool,
    #[arg(long, global = true)]
    pub insecure_skip_tls_verify: bool,
    #[command(subcommand)]
    pub command: Option<OmnictlCommand>,
}

/// What omnictl is asked to do.
#[derive(Debug, Subcommand)]
pub enum OmnictlCommand {
    Apply {
        #[arg(short, long)]
        file: String,
    },
    Get(Get),
    Delete {
        /// The type, by any of its names.
        kind: String,
        #[arg(required = true)]
        ids: Vec<String>,
    },
    #[command(subcommand)]
    Cluster(ClusterCommand),
    Kubeconfig(Kubeconfig),
    Talosconfig(Talosconfig),
    MachineLogs(MachineLogs),
    #[command(subcommand)]
    Infraprovider(ProviderCommand),
    #[command(subcommand)]
    Serviceaccount(AccountCommand),
}

/// `omnictl get`
#[derive(Args, Debug)]
pub struct Get {
    /// The type, by any of its names.
    pub kind: String,
    pub id: Option<String>,
    /// Another namespace than the type's own.
    #[arg(short, long)]
    pub namespace: Option<String>,
    #[arg(short, long, default_value = "table")]
    pub output: Output,
    #[arg(short = 'l', long, conflicts_with = "id")]
    pub selector: Option<String>,
}

/// How `get` shows resources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    Table,
    Json,
}

/// `omnictl cluster`
#[derive(Debug, Subcommand)]
pub enum ClusterCommand {
    Delete {
        name: String,
        #[arg(short, long)]
        dry_run: bool,
        #[arg(long)]
        destroy_disconnected_machines: bool,
    },
    Lock {
        cluster: String,
    },
    Unlock {
        cluster: String,
    },
    #[command(subcommand)]
    Template(TemplateCommand),
    #[command(subcommand)]
    Kubernetes(KubernetesCommand),
}

/// `omnictl cluster kubernetes`
#[derive(Debug, Subcommand)]
pub enum KubernetesCommand {
    UpgradePreChecks {
        cluster: String,
        #[arg(long)]
        to: String,
    },
}

/// `omnictl cluster template`
#[derive(Debug, Subcommand)]
pub enum TemplateCommand {
    Validate {
        #[arg(short, long)]
        file: String,
    },
    Export {
        #[arg(short, long)]
        cluster: String,
    },
    Sync {
        /// The file, or since 1.5 a directory of files.
        #[arg(short, long)]
        file: String,
        #[arg(short, long)]
        verbose: bool,
        #[arg(short, long)]
        dry_run: bool,
    },
}

/// `omnictl kubeconfig`
#[derive(Args, Debug)]
pub struct Kubeconfig {
    #[arg(short, long)]
    pub cluster: String,
    /// With the token of a service account; else for a login with a browser.
    #[arg(long)]
    pub service_account: bool,
    #[arg(long, default_value = "")]
    pub user: String,
    /// Whose groups it carries.
    #[arg(long, value_delimiter = ',', default_value = "system:masters")]
    pub groups: Vec<String>,
    /// How long it is valid, in Go's words.
    #[arg(long, default_value = "8760h")]
    pub ttl: String,
    #[arg(short, long)]
    pub force: bool,
    pub path: String,
}

/// `omnictl talosconfig`
#[derive(Args, Debug)]
pub struct Talosconfig {
    /// Of which cluster.
    #[arg(short, long, default_value = "")]
    pub cluster: String,
    /// Where it goes.
    pub path: String,
}

/// `omnictl machine-logs`
#[derive(Args, Debug)]
pub struct MachineLogs {
    pub machine: String,
    #[arg(short, long)]
    pub follow: bool,
    /// All lines where it is negative.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i32,
    /// The real one's format `omni` crashes.
    #[arg(long, default_value = "raw", value_parser = ["raw"])]
    pub log_format: String,
}

/// `omnictl infraprovider`
#[derive(Debug, Subcommand)]
pub enum ProviderCommand {
    Create { id: String },
    Renewkey { id: String },
    List,
    Delete { id: String },
}

/// `omnictl serviceaccount`
#[derive(Debug, Subcommand)]
pub enum AccountCommand {
    Create {
        name: String,
        /// Its role, unless it takes the caller's.
        #[arg(short, long, default_value = "")]
        role: String,
        #[arg(short, long, action = clap::ArgAction::Set, num_args = 0..=1, require_equals = true)]
        #[arg(default_value_t = true, default_missing_value = "true")]
        use_user_role: bool,
    },
    Renew {
        name: String,
    },
    List,
    Destroy {
        name: String,
    },
}
