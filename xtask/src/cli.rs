//! The whole command line on one page. The doc comments are the help.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::ValueParser;
use clap::{ArgMatches, Command};

use crate::flow::inputs;
use crate::options::{Options, one_of, options, values};
use check::RULES;
use check::capacity::provider::Provider;
use check::diagnosis::Area;
use check::rules::find;
use domain::nearest;
use domain::spec::size::{Disk, Memory};
use runtime::settings::Given;
use runtime::ui::Color;

/// The command line as it was given.
#[derive(Debug)]
pub struct Cli {
    pub global: Global,
    pub task: Task,
}

const ABOUT: &str = "The deployment runbook of Omni-Scale: from bare Proxmox to running Talos Kubernetes clusters";
const MORE: &str = "The deployment runbook of Omni-Scale: from bare Proxmox to running Talos Kubernetes clusters.

Every task checks all its prerequisites before it changes anything, proves its effect, and may be run again.";

impl Cli {
    /// What clap knows of it. The options of a task are built when it is called.
    pub fn command() -> Command {
        let cli = Command::new("xtask").bin_name("cargo xtask").version(env!("CARGO_PKG_VERSION"));
        let cli = cli.about(ABOUT).long_about(MORE).after_help(EXIT_CODES).disable_help_subcommand(true);
        let cli = Global::add(cli.next_help_heading("Global options")).next_help_heading(None::<&str>);
        Task::add(cli)
    }

    /// Reads the words of a command line, the program's own name first.
    pub fn try_parse_from<W: Into<OsString> + Clone>(words: impl IntoIterator<Item = W>) -> Result<Cli, clap::Error> {
        let matches = Cli::command().try_get_matches_from(words)?;
        Ok(Cli { global: Global::read(&matches), task: Task::read(&matches)? })
    }
}

/// What every exit status means; the pages show it as a table.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check or operation failed, 2 usage or input missing, 3 changes pending, \
4 prerequisite missing, 5 unreachable or refused, 124 timed out, 130 interrupted.";

/// The command line with everything that clap fills in.
pub fn built() -> Command {
    let mut cli = Cli::command();
    cli.build();
    cli
}

options! {
    /// Flags that every task takes.
    #[derive(Clone)]
    pub struct Global {
        /// Print one JSON document on stdout; implies --non-interactive
        pub json: bool = "--json", |arg| arg.global(true);
        /// Show what would be done and change nothing; exit 3 when something would
        pub dry_run: bool = "--dry-run", |arg| arg.global(true);
        /// Apply changes without asking: nothing is prompted for, what is missing is an error
        pub yes: bool = "-y --yes", |arg| arg.global(true);
        /// Never ask: what is missing is an error; implied when standard input is no terminal
        pub non_interactive: bool = "--non-interactive", |arg| arg.global(true);
        /// The project to work on, instead of the nearest one above the working directory
        pub project_dir: Option<PathBuf> = "--project-dir DIR", |arg| arg.global(true);
        /// How long waits may take, such as 90s or 15m
        pub timeout: Option<Duration> = "--timeout DURATION", |arg| arg.global(true);
        /// Talk to Proxmox over http://, which sends its login unencrypted
        pub insecure_http: bool = "--insecure-http", |arg| arg.global(true);
        /// Say less: errors and the last word only
        pub quiet: bool = "-q --quiet", |arg| arg.global(true);
        /// Say more: every program that is called
        pub verbose: bool = "-v --verbose", |arg| arg.global(true);
        /// When to colour
        pub color: Color = "--color WHEN", |arg| arg.global(true).default_value("auto");
    }
}

/// Makes [`Task`] of a table: the help of a task, the name that it, its file, its mise alias and its plugin command carry,
/// and its options. The options are built for the task that is called alone: all of them take longer than the rest of a
/// start (docs/benchmarks.md).
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

        impl Task {
            fn add(cli: Command) -> Command {
                cli.subcommand_required(true).arg_required_else_help(true)
                    $(.subcommand(
                        Command::new($name).about($about.trim())
                            $(.defer(<$args as Options>::add))?
                            $(.hide(stringify!($hidden) == "hidden"))?
                    ))*
            }

            fn read(matches: &ArgMatches) -> Result<Task, clap::Error> {
                match matches.subcommand() {
                    $(Some(($name, _given)) => Ok(Task::$variant $((<$args>::read(_given)))?),)*
                    _ => Err(clap::Error::new(clap::error::ErrorKind::MissingSubcommand)),
                }
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
    /// The clusters whose machines may be destroyed without typing the name.
    pub fn allow_destroy(&self) -> Vec<String> {
        match self {
            Task::ClusterCreate(args) => args.allow_destroy.clone(),
            Task::ClusterSync(args) => args.allow_destroy.clone(),
            _ => Vec::new(),
        }
    }

    /// Whether the task, as it was called, only reads files that were named by their paths: then it needs no project.
    pub fn reads_given_files(&self) -> bool {
        let paths = |names: &[String]| !names.is_empty() && names.iter().all(|name| inputs::is_path(name));
        match self {
            Task::MachineclassCheck(args) => !args.convert && paths(&args.name),
            Task::ClusterCheck(args) => !args.convert && paths(&args.name),
            Task::SelectorTest(args) => args.class.as_deref().is_none_or(inputs::is_path),
            Task::Triage(_) => true,
            _ => false,
        }
    }

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

options! {
    pub struct Rehearse {
        /// The pace of the lab: 1 is the field's
        pub clock: u32 = "--clock N", |arg| arg.default_value("200");
        /// Let something go wrong (NAME or NAME:WHEN, as `lab-faults` lists them), and see what the task says and what ends it
        pub fault: Vec<String> = "--fault NAME";
    }

    pub struct ProviderSetup {
        /// The id under which the provider registers, letter by letter as it was created in Omni
        pub provider_id: Option<String> = "--provider-id ID";
        /// The address of Omni, such as https://omni.example.ts.net
        pub omni_endpoint: Option<String> = "--omni-endpoint URL";
        /// The address of Proxmox, such as https://pve.example.com:8006
        pub proxmox_url: Option<String> = "--proxmox-url URL";
        /// Certificate authorities to trust beside the system's, such as Proxmox's own /etc/pve/pve-root-ca.pem
        pub ca_file: Option<String> = "--ca-file FILE";
        /// Take any certificate of Proxmox, now and in the provider
        pub insecure_skip_tls_verify: bool = "--insecure-skip-tls-verify";
    }

    pub struct ProviderStatus {
        /// How many log lines to show
        pub tail: u32 = "--tail N", |arg| arg.default_value("20");
        /// Go on showing lines as they come
        pub follow: bool = "-f --follow", |arg| arg.conflicts_with("json");
    }

    pub struct MachineclassCreate {
        /// The name of the machine class
        pub name: Option<String> = "NAME";
        /// CPU cores
        pub cores: Option<u32> = "--cores N", |arg| arg.visible_alias("cpu");
        /// Memory, e.g. 8GiB; a plain number is MiB
        pub memory: Option<Memory> = "--memory SIZE";
        /// Disk, e.g. 40GiB; a plain number is GiB
        pub disk: Option<Disk> = "--disk SIZE";
        /// Which storage takes the disk, as a CEL expression, such as 'name == "local-lvm"'
        pub selector: Option<String> = "--selector CEL";
        /// Put the machines on this node; the provider chooses otherwise
        pub node: Option<String> = "--node NAME";
        /// The provider that makes the machines
        pub provider_id: Option<String> = "--provider-id ID";
        /// Write over a file that says something else
        pub force: bool = "--force";
        /// Apply it at once
        pub apply: bool = "--apply";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct MachineclassCheck {
        /// The machine classes, or files; without any, every file in machine-classes/
        pub name: Vec<String> = "NAME", |arg| arg.conflicts_with("all");
        /// Check every file in machine-classes/
        pub all: bool = "--all";
        /// Ask no far end: take the provider's schema from the built-in table
        pub offline: bool = "--offline";
        /// Rewrite older forms into the real one, and explain each change
        pub convert: bool = "--convert";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct MachineclassApply {
        /// The name of the machine class, or a file
        pub name: Option<String> = "NAME", |arg| arg.required_unless_present("all").conflicts_with("all");
        /// Apply every file in machine-classes/
        pub all: bool = "--all";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct SelectorTest {
        /// The storage selector, a CEL expression such as 'name == "local-lvm"'
        pub expr: Option<String> = "EXPR", |arg| arg.required_unless_present("class").conflicts_with("class");
        /// Test the selectors of this machine class, or file, instead
        pub class: Option<String> = "--class NAME";
        /// Look at this node only
        pub node: Option<String> = "--node NAME";
        /// Take the storages from a JSON list of {name, node, storageType, availableSpace} instead of from Proxmox
        pub storages: Option<PathBuf> = "--storages FILE";
        /// Ask no far end: without --storages the selector is only compiled
        pub offline: bool = "--offline";
    }

    #[derive(Default)]
    pub struct ClusterCreate {
        /// The name of the cluster
        pub name: Option<String> = "NAME";
        /// How many control plane machines: 1, 3 or 5
        pub control_planes: Option<u32> = "--control-planes N";
        /// How many workers
        pub workers: Option<u32> = "--workers N";
        /// The machine class of the control plane
        pub control_plane_class: Option<String> = "--control-plane-class CLASS";
        /// The machine class of the workers
        pub worker_class: Option<String> = "--worker-class CLASS";
        /// The Talos version, such as v1.13.5
        pub talos_version: Option<String> = "--talos-version VERSION";
        /// The Kubernetes version, such as v1.36.2
        pub kubernetes_version: Option<String> = "--kubernetes-version VERSION";
        /// Write over a template that says something else
        pub force: bool = "--force";
        /// Do not wait until the cluster runs
        pub no_wait: bool = "--no-wait";
        /// Allow the run to destroy machines of the cluster NAME without typing the name; may be given more than once
        pub allow_destroy: Vec<String> = "--allow-destroy NAME";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct ClusterCheck {
        /// The clusters, or files; without any, every template in clusters/
        pub name: Vec<String> = "NAME", |arg| arg.conflicts_with("all");
        /// Check every template in clusters/
        pub all: bool = "--all";
        /// Ask no far end: classes are those in machine-classes/, versions those of the built-in table
        pub offline: bool = "--offline";
        /// Rewrite the nested form into the real one, and explain each change
        pub convert: bool = "--convert";
        /// Talos's own schema of machine configurations, as it publishes it, to decide about patches
        pub talos_schema: Option<PathBuf> = "--talos-schema FILE";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct ClusterSync {
        /// The clusters, or files
        pub name: Vec<String> = "NAME", |arg| arg.required_unless_present("all").conflicts_with("all");
        /// Sync every template in clusters/
        pub all: bool = "--all";
        /// Do not wait until the clusters run
        pub no_wait: bool = "--no-wait";
        /// Allow the run to destroy machines of the cluster NAME without typing the name; may be given more than once
        pub allow_destroy: Vec<String> = "--allow-destroy NAME";
        /// Pass by the errors of this rule; docs/reference/checks.md lists them all
        pub allow: Vec<&'static str> = "--allow RULE";
    }

    pub struct ClusterStatus {
        /// One cluster in full
        pub name: Option<String> = "NAME";
    }

    pub struct ProxmoxAudit {
        /// Show every call with what it needs, not only what is missing
        pub all: bool = "--all";
        /// The release of the provider, instead of the one that docker/compose.yaml runs
        pub provider_version: Option<Provider> = "--provider-version VERSION";
    }

    pub struct ProxmoxInventory {
        /// Keep it in a file, for cluster-plan and selector-test
        pub save: Option<PathBuf> = "--save FILE";
    }

    pub struct ClusterPlan {
        /// The clusters, or files; all of clusters/ when there is none
        pub name: Vec<String> = "NAME", |arg| arg.conflicts_with("all");
        /// Plan every template in clusters/
        pub all: bool = "--all";
        /// A saved inventory instead of asking Proxmox
        pub inventory: Option<PathBuf> = "--inventory FILE";
        /// The release of the provider, instead of the one that docker/compose.yaml runs
        pub provider_version: Option<Provider> = "--provider-version VERSION";
    }

    pub struct OmnictlInstall {
        /// The address of Omni to take it from
        pub omni_endpoint: Option<String> = "--omni-endpoint URL";
        /// Where releases are mirrored, when neither Omni nor GitHub can be reached
        pub mirror: Option<String> = "--mirror URL";
        /// Take this release instead of what Omni serves, e.g. v1.9.3
        pub release: Option<String> = "--release VERSION";
        /// Install even if an omnictl of Omni's version is installed
        pub force: bool = "--force";
    }

    pub struct LabUp {
        /// The pace of the lab: 1 is the field's
        pub clock: u32 = "--clock N", |arg| arg.default_value("200");
        /// Let something go wrong: NAME or NAME:WHEN
        pub fault: Vec<String> = "--fault NAME";
        /// Make every far end slower by this much
        pub latency_ms: u64 = "--latency-ms MS", |arg| arg.default_value("0");
        /// Print the state of the far ends of a running lab instead
        pub dump: bool = "--dump";
        ..size: LabSize;
    }

    /// How big a lab is at its start.
    #[derive(Default, Clone)]
    pub struct LabSize {
        /// Begin with this many nodes of Proxmox (3)
        pub nodes: Option<u32> = "--nodes N";
        /// Begin with this many virtual machines: the clusters' where there are clusters, else other people's
        pub vms: Option<u32> = "--vms N";
        /// Begin with this many storages (3)
        pub storages: Option<u32> = "--storages N";
        /// Begin with this many running clusters, their files in the lab's project
        pub clusters: Option<u32> = "--clusters N";
        /// Let each start of omnictl and docker cost this much of a processor, as those of the real ones do
        pub tool_start_ms: Option<u32> = "--tool-start-ms MS";
    }

    pub struct LabFaults {
        /// Only those of this group, such as docker or permissions
        pub group: Option<String> = "--group GROUP";
    }

    #[derive(Default)]
    pub struct OmniSetup {
        /// The one name of Omni, such as omni.example.com
        pub domain: Option<String> = "--domain NAME";
        /// This host's address on the LAN of the machines
        pub lan_address: Option<String> = "--lan-address ADDRESS";
        /// The e-mail address of the first administrator, as tsidp tells it
        pub initial_user: Option<String> = "--initial-user EMAIL";
        /// The certificate with its full chain, in PEM
        pub tls_cert: Option<String> = "--tls-cert FILE";
        /// The certificate's private key, in PEM
        pub tls_key: Option<String> = "--tls-key FILE";
        /// The address of tsidp, such as https://idp.example.ts.net
        pub issuer: Option<String> = "--issuer URL";
        /// The id of Omni's client in tsidp; its secret is OIDC_CLIENT_SECRET
        pub client_id: Option<String> = "--client-id ID";
        /// The account id of an Omni that is restored; a new one is made otherwise, once
        pub account_uuid: Option<String> = "--account-uuid UUID";
        /// Make a service account for the tasks, or renew its key; needs a login as an administrator
        pub service_account: Option<String> = "--service-account ROLE", |arg| arg.num_args(0..=1).default_missing_value("Operator");
        /// The name of that service account
        pub service_account_name: String = "--service-account-name NAME", |arg| arg.default_value("automation");
    }

    pub struct OmniStatus {
        /// How many log lines to show of each
        pub tail: u32 = "--tail N", |arg| arg.default_value("20");
    }

    pub struct TsidpVerify {
        /// The tailnet's policy to check, from a file, or from standard input with `-`
        pub policy: Option<PathBuf> = "--policy FILE";
    }

    pub struct Doctor {
        /// Only the checks of this area; may be given more than once
        pub area: Vec<Area> = "--area AREA", |arg| arg.value_delimiter(',');
    }

    pub struct StackUp {
        /// Make every container anew, as after a renewed certificate
        pub recreate: bool = "--recreate";
    }

    pub struct StackLogs {
        /// omni-tailscale, omni or proxmox-provider; all that there are without one
        pub service: Option<String> = "SERVICE";
        /// How many lines of each
        pub tail: u32 = "--tail N", |arg| arg.default_value("100");
        /// Go on showing lines as they come
        pub follow: bool = "-f --follow", |arg| arg.conflicts_with("json");
    }

    pub struct Triage {
        /// The log; standard input with `-` or without one
        pub file: Option<PathBuf> = "FILE";
    }
}

/// The groups of checks that are off unless they are asked for.
pub const GROUPS: &[&str] = &["slow", "kill", "fuzz", "docker", "clients"];

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
    "slow",
    "kill",
    "fuzz",
    "docker",
    "clients",
];

options! {
    pub struct Ci {
        /// Run these checks or groups and no others
        pub only: Vec<String> = "--only NAME,…", |arg| arg.value_delimiter(',');
        /// Leave these checks out
        pub skip: Vec<String> = "--skip NAME,…", |arg| arg.value_delimiter(',');
        /// Run these groups besides, which are off by default: slow, kill, fuzz, docker, clients
        pub with: Vec<String> = "--with GROUP,…", |arg| arg.value_delimiter(',');
        /// Mend what can be mended before checking
        pub fix: bool = "--fix";
        /// List the checks, with what each looks at and what mends it
        pub list: bool = "--list", |arg| arg.conflicts_with("fix");
    }

    pub struct Docs {
        /// Change nothing; fail when a page differs from what the code says
        pub check: bool = "--check";
        /// Record the output of the tasks anew that pages show, by running them against the lab
        pub record: bool = "--record", |arg| arg.conflicts_with("check");
    }
}

/// The shells whose completion is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

domain::words!(Shell { Bash = "bash", Zsh = "zsh", Fish = "fish" });

options! {
    pub struct Completions {
        /// The shell
        pub shell: Shell = "SHELL";
    }

    pub struct Complete {
        /// The words after `cargo xtask`, the one that is being typed last
        pub words: Vec<String> = "WORDS", |arg| arg.trailing_var_arg(true).allow_hyphen_values(true);
    }

    pub struct ChangelogBump {
        /// The new version, such as 0.2.0
        pub version: String = "VERSION";
    }

    pub struct CommitCheck {
        /// The file that holds the message, as git gives it to the commit-msg hook
        pub file: Option<PathBuf> = "FILE", |arg| arg.conflicts_with("range");
        /// The commits, such as origin/main..HEAD; without it those that origin/main does not have, or else the last one
        pub range: Option<String> = "--range RANGE";
    }

    pub struct InfisicalScan {
        /// Look at what is staged only
        pub staged: bool = "--staged";
    }
}

values! {
    &'static str = ValueParser::new(rule);
    Color = one_of(Color::ALL, Color::as_str);
    Shell = one_of(Shell::ALL, Shell::as_str);
    Area = one_of(Area::ALL, Area::as_str);
    // By the tags of its images.
    Provider = one_of(&Provider::ALL, Provider::name);
}

/// A rule of the checks, by its id.
fn rule(text: &str) -> Result<&'static str, String> {
    if let Some(rule) = find(text) {
        return Ok(rule.id);
    }
    let near = nearest::several(text, RULES.iter().map(|rule| rule.id), 3);
    Err(match near.as_slice() {
        [] => format!("there is no rule {text:?}; docs/reference/checks.md lists them"),
        near => format!("there is no rule {text:?}; near ones: {}", near.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn an_area_of_the_doctor_can_be_named() {
        assert!(crate::flow::doctor::CHECKS.iter().all(|check| Area::ALL.contains(&check.area)));
    }
}
