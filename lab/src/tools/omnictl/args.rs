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

/// The commands of omnictl.
#[derive(Debug, Subcommand)]
pub enum OmnictlCommand {
    Apply {
        #[arg(short, long)]
        file: String,
    },
    Get(Get),
    Delete {
        /// The type, or one of its aliases.
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
    /// The type, or one of its aliases.
    pub kind: String,
    pub id: Option<String>,
    /// Namespace; by default the one of the type.
    #[arg(short, long)]
    pub namespace: Option<String>,
    #[arg(short, long, default_value = "table")]
    pub output: Output,
    #[arg(short = 'l', long, conflicts_with = "id")]
    pub selector: Option<String>,
}

/// The output format of `get`.
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
        /// A file or, since 1.5, a directory.
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
    /// Use a service account token instead of a login in the browser.
    #[arg(long)]
    pub service_account: bool,
    #[arg(long, default_value = "")]
    pub user: String,
    /// Groups of the user.
    #[arg(long, value_delimiter = ',', default_value = "system:masters")]
    pub groups: Vec<String>,
    /// Lifetime, as a Go duration.
    #[arg(long, default_value = "8760h")]
    pub ttl: String,
    #[arg(short, long)]
    pub force: bool,
    pub path: String,
}

/// `omnictl talosconfig`
#[derive(Args, Debug)]
pub struct Talosconfig {
    /// Name of the cluster.
    #[arg(short, long, default_value = "")]
    pub cluster: String,
    /// File to write to.
    pub path: String,
}

/// `omnictl machine-logs`
#[derive(Args, Debug)]
pub struct MachineLogs {
    pub machine: String,
    #[arg(short, long)]
    pub follow: bool,
    /// Number of lines; negative for all.
    #[arg(long, default_value_t = -1, allow_negative_numbers = true)]
    pub tail: i32,
    /// With `omni`, the real omnictl crashes.
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
        /// Role, unless the caller's role is used.
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
