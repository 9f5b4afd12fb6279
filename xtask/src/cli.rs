//! The whole command line on one page. The doc comments are the help.

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::error::ErrorKind;
use clap::{ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::check::fit::provider::Provider;
use crate::settings::Given;
use crate::spec::nearest;
use crate::ui::Color;

/// The deployment runbook of Omni-Scale: from bare Proxmox to running Talos Kubernetes clusters.
///
/// Every task checks all its prerequisites before it changes anything, proves its effect, and may be run again.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub task: Task,
}

/// What every exit status means; the pages show it as a table.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check or operation failed, 2 usage or input missing, 3 changes pending, \
4 prerequisite missing, 5 unreachable or refused, 124 timed out, 130 interrupted.";

/// The command line with everything that clap derives filled in.
pub fn built() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

/// Flags that every task takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print one JSON document on stdout; implies --non-interactive
    #[arg(long, global = true)]
    pub json: bool,
    /// Show what would be done and change nothing; exit 3 when something would
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Consent to the changes
    #[arg(long, short, global = true)]
    pub yes: bool,
    /// Never ask: what is missing is an error; implied when standard input is no terminal
    #[arg(long, global = true)]
    pub non_interactive: bool,
    /// The project to work on, instead of the nearest one above the working directory
    #[arg(long, global = true, value_name = "DIR")]
    pub project_dir: Option<PathBuf>,
    /// How long waits may take, such as 90s or 15m
    #[arg(long, global = true, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Say less: errors and the last word only
    #[arg(long, short, global = true)]
    pub quiet: bool,
    /// Say more: every program that is called
    #[arg(long, short, global = true)]
    pub verbose: bool,
    /// When to colour
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_parser = color())]
    pub color: Color,
}

/// Makes [`Task`] of a table: the help of a task, the name that it, its file, its mise alias and its plugin command carry,
/// and its options. The options are built for the task that is called alone: all of them take longer than the rest of a
/// start (docs/benchmarks.md), and clap's own derive builds all.
macro_rules! tasks {
    ($(#[doc = $about:literal] $name:literal => $variant:ident $(($args:ident))? $($hidden:ident)?,)*) => {
        #[derive(Debug)]
        pub enum Task {
            $(#[doc = $about] $variant $(($args))?,)*
        }

        impl Task {
            /// The name that the task, its file, its mise alias and its plugin command carry.
            pub fn name(&self) -> &'static str {
                match self { $(Task::$variant { .. } => $name,)* }
            }
        }

        impl Subcommand for Task {
            fn augment_subcommands(cli: Command) -> Command {
                cli.subcommand_required(true).arg_required_else_help(true)
                    $(.subcommand(
                        Command::new($name).about($about.trim())
                            // The doc comments of options that are shared would take the place of the task's own.
                            $(.defer(|task| <$args as Args>::augment_args(task).about($about.trim()).long_about(None)))?
                            $(.hide(stringify!($hidden) == "hidden"))?
                    ))*
            }

            fn augment_subcommands_for_update(cli: Command) -> Command {
                Self::augment_subcommands(cli)
            }

            fn has_subcommand(name: &str) -> bool {
                [$($name),*].contains(&name)
            }
        }

        impl FromArgMatches for Task {
            fn from_arg_matches(matches: &ArgMatches) -> Result<Task, clap::Error> {
                match matches.subcommand() {
                    $(Some(($name, _given)) => Ok(Task::$variant $((<$args>::from_arg_matches(_given)?))?),)*
                    _ => Err(clap::Error::new(ErrorKind::MissingSubcommand)),
                }
            }

            fn update_from_arg_matches(&mut self, matches: &ArgMatches) -> Result<(), clap::Error> {
                *self = Task::from_arg_matches(matches)?;
                Ok(())
            }
        }
    };
}

tasks! {
    /// Run the whole runbook against the lab, in a scratch copy: needs only Rust, a C compiler and curl
    "rehearse" => Rehearse(Rehearse),
    /// Connect Omni to Proxmox: key, configuration, containers, registration
    "provider-setup" => ProviderSetup(ProviderSetup),
    /// Check the provider end to end: containers, Proxmox with its own login, registration
    "provider-verify" => ProviderVerify,
    /// Show the stack's containers and the provider's last log lines, known errors named
    "provider-status" => ProviderStatus(ProviderStatus),
    /// Write a machine class file
    "machineclass-create" => MachineclassCreate(MachineclassCreate),
    /// Check machine classes as Omni and the provider would, before either sees them
    "machineclass-check" => MachineclassCheck(MachineclassCheck),
    /// Apply machine classes to Omni and read them back
    "machineclass-apply" => MachineclassApply(MachineclassApply),
    /// Try a storage selector on every storage of every node, with the provider's semantics
    "selector-test" => SelectorTest(SelectorTest),
    /// Write a cluster template, sync it, and wait until the cluster runs
    "cluster-create" => ClusterCreate(ClusterCreate),
    /// Check cluster templates as omnictl, the server and experience would
    "cluster-check" => ClusterCheck(ClusterCheck),
    /// Bring cluster templates to Omni: validate, compare, confirm, sync, wait
    "cluster-sync" => ClusterSync(ClusterSync),
    /// Show the clusters, or one with its machine sets, machines, and what each waits for
    "cluster-status" => ClusterStatus(ClusterStatus),
    /// Check every privilege that the provider needs, as its own token, and print the pveum lines for what is missing
    "proxmox-audit" => ProxmoxAudit(ProxmoxAudit),
    /// Show Proxmox's nodes, storages and bridges: what is free, and where ISO images go
    "proxmox-inventory" => ProxmoxInventory(ProxmoxInventory),
    /// Show where the machines of clusters would go, what does not fit, and what the loss of a node would do
    "cluster-plan" => ClusterPlan(ClusterPlan),
    /// Install the omnictl that belongs to your Omni
    "omnictl-install" => OmnictlInstall(OmnictlInstall),
    /// Start a lab to play with: Proxmox, Omni, its provider, omnictl and docker, simulated on loopback
    "lab-up" => LabUp(LabUp),
    /// End the lab that lab-up started
    "lab-down" => LabDown,
    /// List what can be made to go wrong in the lab
    "lab-faults" => LabFaults(LabFaults),
    /// Set up Omni: values, key of its store, docker/.env, containers, licence, service account
    "omni-setup" => OmniSetup(OmniSetup),
    /// Check Omni end to end: containers, health, certificate, ports, mounts, versions
    "omni-verify" => OmniVerify,
    /// Show Omni's containers, ports, mounts and last log lines, known issues named
    "omni-status" => OmniStatus(OmniStatus),
    /// Check tsidp: discovery, keys, and the tailnet's grants
    "tsidp-verify" => TsidpVerify(TsidpVerify),
    /// Check every prerequisite and every known trap, side by side, with the fix
    "doctor" => Doctor(Doctor),
    /// Start the Omni stack, with the provider when it is set up
    "stack-up" => StackUp(StackUp),
    /// End the Omni stack; its volumes stay
    "stack-down" => StackDown,
    /// Show the logs of the stack, known issues named
    "stack-logs" => StackLogs(StackLogs),
    /// Match a log against the known issues: causes and fixes
    "triage" => Triage(Triage),
    /// Check everything that the pipeline checks, independent checks side by side
    "ci" => Ci(Ci),
    /// Render the generated pages from the code, or say which have drifted from it
    "docs" => Docs(Docs),
    /// Print the completion script for a shell: tasks, options, and the names of your classes and clusters
    "completions" => Completions(Completions),
    /// Print what could stand next on a command line; called by the completion scripts
    "complete" => Complete(Complete) hidden,
    /// Write CHANGELOG.md from the commit messages
    "changelog" => Changelog,
    /// Set the version everywhere and write its section of CHANGELOG.md; commit, tag and push stay yours
    "changelog-bump" => ChangelogBump(ChangelogBump),
    /// Check commit messages: Conventional Commits, with this project's types and scopes
    "commit-check" => CommitCheck(CommitCheck),
    /// Refuse what must never be committed: .env, config.yaml, state, keys
    "staged-check" => StagedCheck,
    /// Install the git hooks with prek
    "hooks-install" => HooksInstall,
    /// Run every hook on every file, as git would on commit
    "pre-commit-run" => PreCommitRun,
    /// Check every Markdown file
    "markdown-lint" => MarkdownLint,
    /// Mend what can be mended in every Markdown file
    "markdown-fix" => MarkdownFix,
    /// Search the history for secrets with infisical
    "infisical-scan" => InfisicalScan(InfisicalScan),
}

impl Task {
    /// What the flags of the task say for all the programs that it calls.
    pub fn given(&self) -> Given {
        match self {
            Task::ProviderSetup(args) => {
                Given { omni_endpoint: args.omni_endpoint.clone(), ca_file: args.ca_file.clone() }
            }
            Task::OmnictlInstall(args) => Given { omni_endpoint: args.omni_endpoint.clone(), ca_file: None },
            _ => Given::default(),
        }
    }
}

#[derive(Debug, Args)]
pub struct Rehearse {
    /// The pace of the lab: 1 is the field's
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub clock: u32,
    /// Let something go wrong (NAME or NAME:WHEN, as `lab-faults` lists them), and see what the task says and what ends it
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ProviderSetup {
    /// The id under which the provider registers, letter by letter as it was created in Omni
    #[arg(long, value_name = "ID")]
    pub provider_id: Option<String>,
    /// The address of Omni, such as https://omni.example.ts.net
    #[arg(long, value_name = "URL")]
    pub omni_endpoint: Option<String>,
    /// The address of Proxmox, such as https://pve.example.com:8006
    #[arg(long, value_name = "URL")]
    pub proxmox_url: Option<String>,
    /// Certificate authorities to trust beside the system's, such as Proxmox's own /etc/pve/pve-root-ca.pem
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Take any certificate of Proxmox, now and in the provider
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
}

#[derive(Debug, Args)]
pub struct ProviderStatus {
    /// How many log lines to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub tail: u32,
    /// Go on showing lines as they come
    #[arg(long, short, conflicts_with = "json")]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct MachineclassCreate {
    /// The name of the machine class
    pub name: Option<String>,
    /// CPU cores
    #[arg(long, visible_alias = "cpu", value_name = "N")]
    pub cores: Option<u32>,
    /// Memory in MiB
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// Disk in GiB
    #[arg(long, value_name = "GIB")]
    pub disk: Option<u32>,
    /// Which storage takes the disk, as a CEL expression, such as 'name == "local-lvm"'
    #[arg(long, value_name = "CEL")]
    pub selector: Option<String>,
    /// Put the machines on this node; the provider chooses otherwise
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The provider that makes the machines
    #[arg(long, value_name = "ID")]
    pub provider_id: Option<String>,
    /// Write over a file that says something else
    #[arg(long)]
    pub force: bool,
    /// Apply it at once
    #[arg(long)]
    pub apply: bool,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct MachineclassCheck {
    /// The machine classes, or files; without any, every file in machine-classes/
    #[arg(conflicts_with = "all")]
    pub name: Vec<String>,
    /// Check every file in machine-classes/
    #[arg(long)]
    pub all: bool,
    /// Ask no far end: take the provider's schema from the built-in table
    #[arg(long)]
    pub offline: bool,
    /// Rewrite older forms into the real one, and explain each change
    #[arg(long)]
    pub convert: bool,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct MachineclassApply {
    /// The name of the machine class, or a file
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub name: Option<String>,
    /// Apply every file in machine-classes/
    #[arg(long)]
    pub all: bool,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct SelectorTest {
    /// The storage selector, a CEL expression such as 'name == "local-lvm"'
    #[arg(required_unless_present = "class", conflicts_with = "class")]
    pub expr: Option<String>,
    /// Test the selectors of this machine class, or file, instead
    #[arg(long, value_name = "NAME")]
    pub class: Option<String>,
    /// Look at this node only
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Take the storages from a JSON list of {name, node, storageType, availableSpace} instead of from Proxmox
    #[arg(long, value_name = "FILE")]
    pub storages: Option<PathBuf>,
    /// Ask no far end: without --storages the selector is only compiled
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Args)]
pub struct ClusterCreate {
    /// The name of the cluster
    pub name: Option<String>,
    /// How many control plane machines: 1, 3 or 5
    #[arg(long, value_name = "N")]
    pub control_planes: Option<u32>,
    /// How many workers
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// The machine class of the control plane
    #[arg(long, value_name = "CLASS")]
    pub control_plane_class: Option<String>,
    /// The machine class of the workers
    #[arg(long, value_name = "CLASS")]
    pub worker_class: Option<String>,
    /// The Talos version, such as v1.13.5
    #[arg(long, value_name = "VERSION")]
    pub talos_version: Option<String>,
    /// The Kubernetes version, such as v1.36.2
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// Write over a template that says something else
    #[arg(long)]
    pub force: bool,
    /// Do not wait until the cluster runs
    #[arg(long)]
    pub no_wait: bool,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct ClusterCheck {
    /// The clusters, or files; without any, every template in clusters/
    #[arg(conflicts_with = "all")]
    pub name: Vec<String>,
    /// Check every template in clusters/
    #[arg(long)]
    pub all: bool,
    /// Ask no far end: classes are those in machine-classes/, versions those of the built-in table
    #[arg(long)]
    pub offline: bool,
    /// Rewrite the nested form into the real one, and explain each change
    #[arg(long)]
    pub convert: bool,
    /// Talos's own schema of machine configurations, as it publishes it, to decide about patches
    #[arg(long, value_name = "FILE")]
    pub talos_schema: Option<PathBuf>,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct ClusterSync {
    /// The clusters, or files
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub name: Vec<String>,
    /// Sync every template in clusters/
    #[arg(long)]
    pub all: bool,
    /// Do not wait until the clusters run
    #[arg(long)]
    pub no_wait: bool,
    /// Pass by the errors of this rule; docs/checks.md lists them all
    #[arg(long, value_name = "RULE", value_parser = rule)]
    pub allow: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct ClusterStatus {
    /// One cluster in full
    pub name: Option<String>,
}

#[derive(Debug, Args)]
pub struct ProxmoxAudit {
    /// The release of the provider, instead of the one that docker/compose.yaml runs
    #[arg(long, value_name = "VERSION", value_parser = provider_version())]
    pub provider_version: Option<Provider>,
}

#[derive(Debug, Args)]
pub struct ProxmoxInventory {
    /// Keep it in a file, for cluster-plan and selector-test
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ClusterPlan {
    /// The clusters, or files; all of clusters/ when there is none
    #[arg(conflicts_with = "all")]
    pub name: Vec<String>,
    /// Plan every template in clusters/
    #[arg(long)]
    pub all: bool,
    /// A saved inventory instead of asking Proxmox
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// The release of the provider, instead of the one that docker/compose.yaml runs
    #[arg(long, value_name = "VERSION", value_parser = provider_version())]
    pub provider_version: Option<Provider>,
}

#[derive(Debug, Args)]
pub struct OmnictlInstall {
    /// The address of Omni to take it from
    #[arg(long, value_name = "URL")]
    pub omni_endpoint: Option<String>,
    /// Where releases are mirrored, for when neither Omni nor GitHub can be asked
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Install also where a working omnictl is found
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct LabUp {
    /// The pace of the lab: 1 is the field's
    #[arg(long, value_name = "N", default_value_t = 200)]
    pub clock: u32,
    /// Let something go wrong: NAME or NAME:WHEN
    #[arg(long, value_name = "NAME")]
    pub fault: Vec<String>,
    /// Make every far end slower by this much
    #[arg(long, value_name = "MS", default_value_t = 0)]
    pub latency_ms: u64,
    /// Print the state of the far ends of a running lab instead
    #[arg(long)]
    pub dump: bool,
    #[command(flatten)]
    pub size: LabSize,
}

/// How big a lab is at its start.
#[derive(Debug, Default, Clone, Args)]
pub struct LabSize {
    /// Begin with this many nodes of Proxmox (3)
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Begin with this many virtual machines: the clusters' where there are clusters, else other people's
    #[arg(long, value_name = "N")]
    pub vms: Option<u32>,
    /// Begin with this many storages (3)
    #[arg(long, value_name = "N")]
    pub storages: Option<u32>,
    /// Begin with this many running clusters, their files in the lab's project
    #[arg(long, value_name = "N")]
    pub clusters: Option<u32>,
    /// Let each start of omnictl and docker cost this much of a processor, as those of the real ones do
    #[arg(long, value_name = "MS")]
    pub tool_start_ms: Option<u32>,
}

#[derive(Debug, Args)]
pub struct LabFaults {
    /// Only those of this group, such as docker or permissions
    #[arg(long, value_name = "GROUP")]
    pub group: Option<String>,
}

#[derive(Debug, Default, Args)]
pub struct OmniSetup {
    /// The one name of Omni, such as omni.example.com
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// This host's address on the LAN of the machines
    #[arg(long, value_name = "ADDRESS")]
    pub lan_address: Option<String>,
    /// The e-mail address of the first administrator, as tsidp tells it
    #[arg(long, value_name = "EMAIL")]
    pub initial_user: Option<String>,
    /// The certificate with its full chain, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// The address of tsidp, such as https://idp.example.ts.net
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The id of Omni's client in tsidp; its secret is OIDC_CLIENT_SECRET
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The account id of an Omni that is restored; a new one is made otherwise, once
    #[arg(long, value_name = "UUID")]
    pub account_uuid: Option<String>,
    /// Make a service account for the tasks, or renew its key; needs a login as an administrator
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "Operator")]
    pub service_account: Option<String>,
    /// The name of that service account
    #[arg(long, value_name = "NAME", default_value = "automation")]
    pub service_account_name: String,
}

#[derive(Debug, Args)]
pub struct OmniStatus {
    /// How many log lines to show of each
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub tail: u32,
}

#[derive(Debug, Args)]
pub struct TsidpVerify {
    /// The tailnet's policy to check, from a file, or from standard input with `-`
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct Doctor {
    /// Only the checks of this area; may be given more than once
    #[arg(long, value_name = "AREA", value_delimiter = ',')]
    pub area: Vec<crate::task::doctor::Area>,
}

#[derive(Debug, Args)]
pub struct StackUp {
    /// Make every container anew, as after a renewed certificate
    #[arg(long)]
    pub recreate: bool,
}

#[derive(Debug, Args)]
pub struct StackLogs {
    /// omni-tailscale, omni or proxmox-provider; all that there are without one
    pub service: Option<String>,
    /// How many lines of each
    #[arg(long, value_name = "N", default_value_t = 100)]
    pub tail: u32,
    /// Go on showing lines as they come
    #[arg(long, short, conflicts_with = "json")]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct Triage {
    /// The log; standard input with `-` or without one
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

/// The groups of checks that are off unless they are asked for.
pub const GROUPS: &[&str] = &["faults", "kill", "fuzz", "docker", "clients"];

/// The checks of `ci` that `--only` and `--skip` name, in the order of its table.
pub const CHECKS: &[&str] = &[
    "fmt",
    "clippy",
    "test",
    "docs",
    "links",
    "markdown",
    "shell",
    "shell-format",
    "yaml",
    "workflows",
    "architecture",
    "licences",
    "advisories",
    "secrets",
    "commits",
    "rehearsal",
    "plugin",
    "faults",
    "kill",
    "fuzz",
    "docker",
    "clients",
];

#[derive(Debug, Args)]
pub struct Ci {
    /// Run these checks or groups and no others
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub only: Vec<String>,
    /// Leave these checks out
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub skip: Vec<String>,
    /// Run these groups besides, which are off by default: faults, kill, fuzz, docker, clients
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',')]
    pub with: Vec<String>,
    /// Mend what can be mended before checking
    #[arg(long)]
    pub fix: bool,
    /// List the checks, with what each looks at and what mends it
    #[arg(long, conflicts_with = "fix")]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct Docs {
    /// Change nothing; fail when a page differs from what the code says
    #[arg(long)]
    pub check: bool,
    /// Record the output of the tasks anew that pages show, by running them against the lab
    #[arg(long, conflicts_with = "check")]
    pub record: bool,
}

/// The shells whose completion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Debug, Args)]
pub struct Complete {
    /// The words after `cargo xtask`, the one that is being typed last
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub words: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ChangelogBump {
    /// The new version, such as 0.2.0
    pub version: String,
}

#[derive(Debug, Args)]
pub struct CommitCheck {
    /// The file that holds the message, as git gives it to the commit-msg hook
    #[arg(conflicts_with = "range")]
    pub file: Option<PathBuf>,
    /// The commits, such as origin/main..HEAD; without it those that origin/main does not have, or else the last one
    #[arg(long, value_name = "RANGE")]
    pub range: Option<String>,
}

#[derive(Debug, Args)]
pub struct InfisicalScan {
    /// Look at what is staged only
    #[arg(long)]
    pub staged: bool,
}

fn color() -> impl TypedValueParser<Value = Color> {
    PossibleValuesParser::new(Color::ALL.map(Color::as_str))
        .try_map(|word| Color::ALL.into_iter().find(|color| color.as_str() == word).ok_or("no such colour"))
}

/// The releases of the provider by the tags of their images.
fn provider_version() -> impl TypedValueParser<Value = Provider> {
    PossibleValuesParser::new(Provider::ALL.map(Provider::name))
        .try_map(|name| Provider::of_tag(&name).ok_or("no such release"))
}

/// A rule of the checks, by its id.
fn rule(text: &str) -> Result<&'static str, String> {
    if let Some(rule) = crate::check::rules::find(text) {
        return Ok(rule.id);
    }
    let near = nearest::several(text, crate::check::RULES.iter().map(|rule| rule.id), 3);
    Err(match near.as_slice() {
        [] => format!("there is no rule {text:?}; docs/checks.md lists them"),
        near => format!("there is no rule {text:?}; near ones: {}", near.join(", ")),
    })
}

/// A duration as Go and operators write it: `90s`, `15m`, `1h30m`, `500ms`, or bare seconds.
fn duration(text: &str) -> Result<Duration, String> {
    let bad = || format!("{text:?} is no duration: write 90s, 15m or 1h30m");
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let (mut total, mut rest) = (Duration::ZERO, text);
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit()).ok_or_else(bad)?;
        let number: u64 = rest[..digits].parse().map_err(|_| bad())?;
        let unit_end = rest[digits..].find(|c: char| c.is_ascii_digit()).map_or(rest.len(), |end| digits + end);
        let unit = match &rest[digits..unit_end] {
            "ms" => Duration::from_millis(1),
            "s" => Duration::from_secs(1),
            "m" => Duration::from_secs(60),
            "h" => Duration::from_secs(3_600),
            _ => return Err(bad()),
        };
        let factor = u32::try_from(number).map_err(|_| bad())?;
        total = unit.checked_mul(factor).and_then(|part| total.checked_add(part)).ok_or_else(bad)?;
        rest = &rest[unit_end..];
    }
    Ok(total)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_task_is_named_as_its_subcommand() {
        let words = [
            "rehearse",
            "provider-setup",
            "provider-verify",
            "provider-status",
            "machineclass-create",
            "machineclass-check",
            "machineclass-apply --all",
            "selector-test true",
            "cluster-create",
            "cluster-check",
            "cluster-sync --all",
            "cluster-status",
            "proxmox-audit",
            "proxmox-inventory",
            "cluster-plan",
            "omnictl-install",
            "lab-up",
            "lab-down",
            "lab-faults",
            "omni-setup",
            "omni-verify",
            "omni-status",
            "tsidp-verify",
            "doctor",
            "stack-up",
            "stack-down",
            "stack-logs",
            "triage",
            "ci",
            "docs",
            "completions bash",
            "complete",
            "changelog",
            "changelog-bump 1.0.0",
            "commit-check",
            "staged-check",
            "hooks-install",
            "pre-commit-run",
            "markdown-lint",
            "markdown-fix",
            "infisical-scan",
        ];
        assert_eq!(Cli::command().get_subcommands().count(), words.len());
        for line in words {
            let cli = Cli::try_parse_from(std::iter::once("xtask").chain(line.split(' '))).unwrap();
            assert_eq!(cli.task.name(), line.split(' ').next().unwrap());
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "m", "5x", "-1s", "1h-", "99999999999999999999s", "4294967296h"] {
            assert!(bad.is_empty() || duration(bad).is_err(), "{bad}");
        }
    }
}
