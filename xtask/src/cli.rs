//! The whole command line on one page. The doc comments are the help.

// Doc comments in this file are help texts, in which a terminal shows `<` and `>` as they are.
#![allow(rustdoc::bare_urls)]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::styling::Style;
use clap::builder::{PossibleValue, PossibleValuesParser, StyledStr, TypedValueParser, ValueParser};
use clap::{ArgMatches, Args, ColorChoice, Command, CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use clap_complete::engine::ArgValueCandidates;

use crate::complete::{checks, classes, clusters, fault_groups, faults, providers, services};
use crate::flow::inputs;
use crate::flow::saved_plan::PlanFile;
use crate::usage;
use check::RULES;
use check::capacity::provider::Provider;
use check::diagnosis::Area;
use check::releases::Omni;
use check::rules::find;
use domain::backup::Retention;
use domain::log;
use domain::nearest;
use domain::releases::table;
use domain::spec::size::{Disk, Memory};
use runtime::called;
use runtime::settings::FlagOverrides;
use runtime::ui::Color;
use selector::time;
use serde_json::{Value, json};
use strum::VariantArray;

/// The deployment runbook of Omni-Scale: from bare Proxmox to running Talos Kubernetes clusters.
///
/// Every task checks its prerequisites before it changes anything, verifies the result, and can be run again.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo xtask", version, disable_help_subcommand = true)]
#[command(about = ABOUT, long_about = format!("{ABOUT}.\n\n{MORE}"), after_help = format!("{EXIT_CODES}\n\n{MANUAL}"))]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub task: Task,
    #[arg(skip)]
    pub shared: Shared,
}

/// Options that have one name in each task that has them; the runner looks at them before the task.
#[derive(Debug, Default)]
pub struct Shared {
    /// The clusters whose machines may be destroyed without typing the name.
    pub allow_destroy: Vec<String>,
    /// The plan is written to a file, and nothing is changed.
    pub plan_out: Option<PathBuf>,
    /// The support bundle that the task reads in place of this installation.
    pub bundle: Option<PathBuf>,
    /// The provider that was named.
    pub provider: Option<String>,
    /// Settings for every program that the task calls.
    pub overrides: FlagOverrides,
}

impl Shared {
    fn from_matches(task: &ArgMatches) -> Shared {
        /// Nothing where the task has no such option, or one of another kind.
        fn one<T: Clone + Send + Sync + 'static>(task: &ArgMatches, id: &str) -> Option<T> {
            task.try_get_one(id).ok().flatten().cloned()
        }
        let allow_destroy = task.try_get_many("allow_destroy").ok().flatten().into_iter().flatten().cloned().collect();
        let overrides = FlagOverrides { omni_endpoint: one(task, "omni_endpoint"), ca_file: one(task, "ca_file") };
        let (plan_out, bundle, provider) = (one(task, "plan_out"), one(task, "bundle"), one(task, "provider"));
        Shared { allow_destroy, plan_out, bundle, provider, overrides }
    }
}

impl Cli {
    /// Reads a command line. Help and errors about it are colored as its `--color` says.
    ///
    /// # Errors
    /// What is wrong with it, or the help that it asks for.
    pub fn read(args: &[OsString]) -> Result<Cli, clap::Error> {
        let first = args.iter().skip(1).position(|word| !word.as_encoded_bytes().starts_with(b"-")).map(|at| at + 1);
        let flag = first.and_then(|at| match args[at].to_str() {
            Some("help") => Some((at, "--help")),
            Some("version") => Some((at, "--version")),
            _ => None,
        });
        // `help TASK` is how other programs spell `TASK --help`.
        let moved = flag.map(|(at, flag)| [&args[..at], &args[at + 1..], &[OsString::from(flag)]].concat());
        let args = moved.as_deref().unwrap_or(args);
        let matches = command_with_examples().color(parse_color(args)).try_get_matches_from(args);
        let matches = matches.map_err(|error| usage::with_tip(error, args))?;
        let shared = matches.subcommand().map(|(_, task)| Shared::from_matches(task)).unwrap_or_default();
        Ok(Cli { shared, ..Cli::from_arg_matches(&matches)? })
    }
}

/// `--color` of a command line that clap may refuse.
fn parse_color(args: &[OsString]) -> ColorChoice {
    let mut words = args.iter().filter_map(|arg| arg.to_str());
    let given = words.find_map(|word| word.strip_prefix("--color").map(|value| value.strip_prefix('=')));
    match given.and_then(|value| value.or_else(|| words.next())) {
        Some("always") => ColorChoice::Always,
        Some("never") => ColorChoice::Never,
        _ => ColorChoice::Auto,
    }
}

const ABOUT: &str = "The deployment runbook of Omni-Scale: from bare Proxmox to running Talos Kubernetes clusters";
const MORE: &str =
    "Every task checks its prerequisites before it changes anything, verifies the result, and can be run again.";

/// What every exit status means; the pages show it as a table.
pub const EXIT_CODES: &str = "Exit codes: 0 done, 1 a check or operation failed, 2 usage or input missing, 3 changes pending, \
4 prerequisite missing, 5 unreachable or refused, 124 timed out, 130 interrupted.";

/// Where to read more.
const MANUAL: &str = "Manual page: man -l docs/reference/xtask.1. Guides: README.md.";

/// The headings of the help, each with its tasks in the order in which an operator needs them.
pub fn task_groups() -> impl Iterator<Item = (&'static str, std::str::Split<'static, char>)> {
    let lines = include_str!("../data/task-groups.txt").lines().filter_map(|line| line.split_once(": "));
    lines.map(|(heading, names)| (heading, names.split(' ')))
}

/// The command line with everything that clap fills in.
pub fn command() -> Command {
    let mut cli = command_with_examples();
    cli.build();
    cli
}

/// The command line under the name that it is called by, with the examples of each task.
fn command_with_examples() -> Command {
    // Every start of a task comes through here: the file of examples is read once, not once for each task.
    let mut of_tasks: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for line in include_str!("../data/examples.txt").lines() {
        of_tasks.entry(line.split(' ').next().unwrap_or_default()).or_default().push(line);
    }
    let cli =
        Cli::command().bin_name(called::program_name()).mut_subcommands(|task| match of_tasks.get(task.get_name()) {
            Some(lines) => task.after_long_help(examples(lines)),
            None => task,
        });
    let overview = overview(&cli);
    let cli = cli.help_template(overview);
    if called::is_released() { cli.display_name(called::RELEASED_PROGRAM) } else { cli }
}

/// The template of the help of all: clap puts subcommands under one heading only.
fn overview(cli: &Command) -> StyledStr {
    let about =
        |name: &str| cli.find_subcommand(name).and_then(Command::get_about).map(|about| about.ansi().to_string());
    let mut text = String::from("{about-with-newline}\n{usage-heading} {usage}\n");
    for (heading, names) in task_groups() {
        text.push_str(&format!("\n{HEADING}{heading}:{HEADING:#}\n"));
        for name in names {
            let about = about(name).unwrap_or_default();
            text.push_str(&format!("  {LITERAL}{name:<20}{LITERAL:#} {about}\n"));
        }
    }
    text.push_str(&format!("\n{HEADING}Global options:{HEADING:#}\n{{options}}{{after-help}}"));
    text.into()
}

/// The examples at the end of a task's help.
fn examples(lines: &[&str]) -> StyledStr {
    let name = called::program_name();
    let lines: String = lines.iter().map(|line| format!("\n  {name} {line}")).collect();
    format!("{HEADING}Examples:{HEADING:#}{lines}").into()
}

/// As clap styles them.
const HEADING: Style = Style::new().bold().underline();
const LITERAL: Style = Style::new().bold();

// No doc comments on what is flattened: clap would take them for the description of the task.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Global options")]
pub struct Global {
    /// Print one JSON document on stdout; implies --non-interactive
    #[arg(long, global = true)]
    pub json: bool,
    /// Show what would change without changing anything; exit 3 if anything would
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Apply changes without asking
    #[arg(short, long, global = true)]
    pub yes: bool,
    /// Never prompt: a missing value is an error; implied when stdin is not a terminal
    #[arg(long, global = true)]
    pub non_interactive: bool,
    /// The project to work on, instead of the nearest one above the working directory
    #[arg(long, global = true, value_name = "DIR")]
    pub project_dir: Option<PathBuf>,
    /// How long waits may take, e.g. 90s or 15m
    #[arg(long, global = true, value_name = "DURATION", value_parser = parse_duration)]
    pub timeout: Option<Duration>,
    /// Connect to Proxmox over http://, which sends the login unencrypted
    #[arg(long, global = true)]
    pub insecure_http: bool,
    /// Print only errors and the summary
    #[arg(short, long, global = true)]
    pub quiet: bool,
    /// Print every program that is called
    #[arg(short, long, global = true)]
    pub verbose: bool,
    /// When to use colors
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto", value_parser = one_of(Color::VARIANTS, Into::into))]
    pub color: Color,
}

/// A task: the name that it, its file, its mise alias and its plugin command carry, its help, and its options.
#[derive(Debug, Subcommand, strum::IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Task {
    /// Create a project directory: stack, tsidp, examples
    ///
    /// For the released binary, which works without a checkout of the repository. Refuses a directory that contains other files.
    Init {
        /// The directory: new, empty, or with only a git repository in it
        dir: PathBuf,
    },
    /// Check every prerequisite and known problem, with fixes
    ///
    /// The checks run in parallel and change nothing. Each failed check names its cause and the command that fixes it. Checks
    /// that passed, or that wait for a later step, are only counted; --all shows every check.
    Doctor(Doctor),
    /// Set up Omni: values, keys, containers, service account
    ///
    /// Prompts for missing values, writes docker/.env, creates the key that encrypts Omni's store, and starts the containers.
    /// Shows where to read and accept Omni's licence, which you must do yourself.
    OmniSetup(OmniSetup),
    /// Connect Omni to Proxmox: key, configuration, containers
    ///
    /// Creates the provider in Omni, writes docker/config.yaml, starts the provider, and waits until it is registered.
    ProviderSetup(ProviderSetup),
    /// Install the omnictl that matches your Omni
    OmnictlInstall(OmnictlInstall),
    /// Check Omni: health, certificate, ports, versions
    ///
    /// Checks the containers, Omni's health, its certificate, ports, mounts and versions.
    OmniVerify,
    /// Check tsidp: discovery, keys and the tailnet's grants
    TsidpVerify {
        /// The tailnet's policy to check; `-` reads standard input
        #[arg(long, value_name = "FILE")]
        policy: Option<PathBuf>,
    },
    /// Check the provider: container, Proxmox, registration
    ///
    /// Checks the containers, access to Proxmox with the provider's own login, and the provider's registration in Omni.
    ProviderVerify {
        #[command(flatten)]
        one: OneProvider,
    },
    /// Check the privileges of the provider's token in Proxmox
    ///
    /// Tries every privilege that the provider needs, as its own token, and prints the pveum commands for what is missing.
    ProxmoxAudit(ProxmoxAudit),
    /// Write a machine class file
    MachineclassCreate(MachineclassCreate),
    /// Check machine classes as Omni and the provider would
    MachineclassCheck(MachineclassCheck),
    /// Apply machine classes to Omni and read them back
    MachineclassApply(MachineclassApply),
    /// Write the files of machine classes that Omni has
    ///
    /// A file with the same content is kept, even if its comments or the order of its keys differ.
    MachineclassExport(Export),
    /// Test a storage selector against the storages of Proxmox
    ///
    /// Evaluates the selector as the provider does, and shows which storage it would pick on each node.
    SelectorTest(SelectorTest),
    /// Write a cluster template, sync it, wait for the cluster
    ClusterCreate(ClusterCreate),
    /// Check cluster templates as omnictl and Omni would
    ClusterCheck(ClusterCheck),
    /// Show where each machine would run, and what does not fit
    ///
    /// Shows where the machines of the clusters would run, what does not fit, and what the loss of a node would do.
    ClusterPlan(ClusterPlan),
    /// Sync cluster templates to Omni and wait for the clusters
    ///
    /// Validates and compares the templates, asks before it changes anything, syncs them, and waits until the clusters run.
    ClusterSync(ClusterSync),
    /// Show every credential and when it expires; rotate one
    ///
    /// Shows the owner, the rights and the location of each credential, never its value. With --rotate a new credential is created, tested
    /// and stored before the old credential is removed.
    Keys(Keys),
    /// Print a saved plan
    PlanShow(PlanShow),
    /// Apply a saved plan, or refuse if it is out of date
    ///
    /// Makes exactly the changes of a plan that --plan-out wrote. Changes nothing if the plan has expired, was edited or is for
    /// another Omni, or if a file or a resource in Omni that it depends on has changed since; the task then reports what changed.
    Apply(Apply),
    /// Show clusters, their machines, and what each waits for
    ///
    /// Shows all clusters, or one with its machine sets and machines, and what each waits for.
    ClusterStatus(ClusterStatus),
    /// Show what differs between git, Omni and Proxmox
    ///
    /// Shows for each difference the commands that resolve it in either direction; changes nothing.
    Drift(DriftArgs),
    /// Write the templates of clusters that Omni has
    ///
    /// They include changes made in Omni's web interface; syncing an exported template changes nothing.
    ClusterExport(Export),
    /// Explain why a cluster or machine is stuck, with the fix
    ///
    /// Follows the chain from the template through Omni, the provider and Proxmox to Kubernetes. For each broken link it shows
    /// the evidence, the cause and the least destructive fix. Exits with 1 if something is broken. Changes nothing without
    /// --heal.
    ClusterExplain(ClusterExplain),
    /// Change how many machines a cluster's machine sets have
    ///
    /// Changes the numbers in the template, keeps its comments, syncs it, and waits for the cluster.
    ClusterScale(ClusterScale),
    /// Upgrade Talos and Kubernetes, one machine at a time
    ///
    /// Without versions it upgrades to the versions that this kit recommends. It takes the steps of upgrade-plan in order: changes the
    /// version in the template, keeps its comments, syncs it, and follows each machine until it is back. It stops at the first
    /// machine that does not return; run it again to continue.
    ClusterUpgrade(ClusterUpgrade),
    /// Write a kubeconfig for a cluster
    ///
    /// The file contains the token of a service account with administrator rights, valid until it expires. With --user it
    /// contains no token: kubectl then logs you in with a browser.
    ClusterKubeconfig(ClusterKubeconfig),
    /// Write a talosconfig for a cluster
    ClusterTalosconfig(ClusterTalosconfig),
    /// Delete a cluster with its machines and disks
    ///
    /// Shows every machine and VM that will be destroyed, the persistent volumes if kubectl is installed and Kubernetes answers, and the
    /// age of the last etcd backup. Asks for the name, deletes, and waits until the VMs and their seed files are gone from Proxmox.
    /// The template stays, so that a sync creates the cluster again, empty.
    ClusterDelete(ClusterDelete),
    /// Replace a machine of a cluster with a new one
    ///
    /// Refuses a control plane whose loss would cost etcd its quorum. Shows the VM that will be destroyed, asks for the cluster's name, and
    /// waits until the VM is gone from Proxmox and the cluster runs with a new machine. Run it again to continue.
    MachineReplace(MachineReplace),
    /// Show the log of a machine, with known issues explained
    ///
    /// Omni keeps the log of the kernel and of Talos for each machine, even if Kubernetes does not know the machine.
    MachineLogs(MachineLogs),
    /// Write a page that shows the whole fleet
    ///
    /// One HTML file without external requests: nodes with their machines, what each machine waits for, the plan, the loss of a node,
    /// upgrades, keys, backups and drift. The page lists what could not be queried.
    FleetPage(FleetPage),
    /// Show the nodes, storages and bridges of Proxmox
    ///
    /// Shows the free resources of each node and storage, and where ISO images are stored.
    ProxmoxInventory(ProxmoxInventory),
    /// Back up Omni while it runs
    ///
    /// The archive contains etcd, SQLite, the tailnet identity, configuration and certificates. It contains the store key only if it
    /// is encrypted to a recipient: without a recipient, keep a copy of docker/omni.asc elsewhere.
    OmniBackup(OmniBackup),
    /// Check that a backup can be restored
    ///
    /// Unpacks it in a private directory, which is removed afterwards, and checks that every part is unchanged, the store key opens
    /// the store, and etcd and SQLite accept their parts. Running services are not touched. A drill also needs Omni's image and the
    /// store key.
    OmniBackupVerify(OmniBackupVerify),
    /// Restore a backup of Omni on a new host
    ///
    /// Refuses if the host has a stack, its volumes or its files, if the Omni version differs in its minor version, or if an Omni still
    /// answers.
    OmniRestore(OmniRestore),
    /// Replace the key of Omni's store, or add a recovery key
    ///
    /// Omni adds a slot for the new key to its store when it starts, and never removes a slot. The new key must open the live store
    /// before Omni starts with it, and the old one is kept. Omni is unavailable twice, for about a minute each time. To continue
    /// an interrupted run, run the same command again.
    OmniKeyRotate(OmniKeyRotate),
    /// Take over an Omni that other compose files started
    ///
    /// Finds its containers, stops them, copies its data into this project's volumes, and starts the same version of Omni here with
    /// the same name, account and keys. The old containers and volumes are not changed: --undo starts them again.
    OmniAdopt(OmniAdopt),
    /// Show Omni's containers, ports, mounts and last log lines
    OmniStatus(OmniStatus),
    /// Start the Omni stack
    ///
    /// Starts the provider too when it is set up.
    StackUp {
        /// Recreate every container, e.g. after a certificate was renewed
        #[arg(long)]
        recreate: bool,
    },
    /// Stop the Omni stack and keep its volumes
    StackDown,
    /// Show the logs of the stack, with known issues explained
    StackLogs(StackLogs),
    /// Show the provider's container and last log lines
    ///
    /// Shows the stack's containers and the provider's last log lines, with known issues explained.
    ProviderStatus(ProviderStatus),
    /// Show the steps to newer versions, and what blocks each
    ///
    /// Compares what runs with the versions that this kit recommends, or with --to, and shows each step in order: what blocks
    /// it, what cannot be undone, and the commands. Changes nothing.
    UpgradePlan(UpgradePlan),
    /// Upgrade Omni by one minor version
    ///
    /// Without --to it takes the next step towards the version that this kit recommends. It refuses to skip a minor version, to downgrade,
    /// and to continue without a backup of the last day or with an unhealthy cluster. It pulls the image, changes the tag in
    /// docker/compose.yaml, recreates the containers together, installs the omnictl of the new version, and verifies that account,
    /// clusters, machines and keys are unchanged.
    OmniUpgrade(OmniUpgrade),
    /// Write an archive without secrets for whoever helps you
    ///
    /// Collects doctor's checks, versions, Omni's resources, logs, Proxmox's failed tasks and inventory, and the project's files.
    /// Passwords, keys and tokens are removed by format and by value, and the contents are listed before anything is
    /// written, along with what could not be reached. cluster-explain --bundle reads the archive.
    SupportBundle(SupportBundle),
    /// Find known issues in a log: causes and fixes
    Triage {
        /// The log; without it, or with `-`, standard input
        file: Option<PathBuf>,
    },
    /// Print the completion script for a shell
    ///
    /// Completes tasks, options, and the names of your machine classes and clusters.
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print possible completions of a command line; called by the completion scripts
    #[command(hide = true)]
    Complete {
        /// The words after `cargo xtask`; the last one is being completed
        #[arg(value_name = "WORDS", trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
    /// Run the provider and cluster tasks against the lab
    ///
    /// Works in a scratch copy, which is removed afterwards. Needs only Rust, a C compiler and curl. With --project every cluster of a directory
    /// is created, scaled, upgraded if a release allows it, loses a node, and is deleted; the output lists what cannot be simulated.
    Rehearse(Rehearse),
    /// Start a lab: Proxmox, Omni, omnictl and docker, simulated
    ///
    /// The simulated services listen on loopback; lab-down stops them.
    LabUp(LabUp),
    /// Stop the lab that lab-up started
    LabDown,
    /// End a fault of the lab that lab-up started
    ///
    /// The simulated services work correctly again. What the fault left behind stays, such as a VM that is off.
    LabHeal {
        /// The fault
        #[arg(value_name = "NAME", add = ArgValueCandidates::new(faults))]
        fault: String,
    },
    /// List the faults that the lab can simulate
    LabFaults {
        /// Only the faults of this group, e.g. docker or permissions
        #[arg(long, value_name = "GROUP", add = ArgValueCandidates::new(fault_groups))]
        group: Option<String>,
    },
    /// Run the checks of the pipeline
    ///
    /// Checks that do not depend on each other run in parallel.
    Ci(Ci),
    /// Generate the reference pages from the code
    Docs(Docs),
    /// Install the git hooks with prek
    HooksInstall,
    /// Run every hook on every file, as git would on commit
    PreCommitRun,
    /// Write CHANGELOG.md from the commit messages
    Changelog,
    /// Set the version and write its section of CHANGELOG.md
    ///
    /// You commit, tag and push it.
    ChangelogBump {
        /// The new version, e.g. 0.2.0
        version: String,
    },
    /// Check commit messages: Conventional Commits and scopes
    CommitCheck(CommitCheck),
    /// Refuse to commit .env, config.yaml, state and keys
    StagedCheck,
    /// Check every Markdown file
    MarkdownLint,
    /// Fix what can be fixed in every Markdown file
    MarkdownFix,
    /// Search the git history for secrets with infisical
    InfisicalScan {
        /// Scan only what is staged
        #[arg(long)]
        staged: bool,
    },
}

impl Task {
    /// The name that the task, its file, its mise alias and its plugin command carry.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// Whether the task, as it was called, prints a short JSON document and counts the rest.
    pub fn is_short(&self) -> bool {
        match self {
            Task::ClusterExplain(ClusterExplain { everything, .. })
            | Task::SupportBundle(SupportBundle { everything, .. })
            | Task::ClusterPlan(ClusterPlan { everything, .. })
            | Task::ClusterStatus(ClusterStatus { everything, .. })
            | Task::Drift(DriftArgs { everything, .. })
            | Task::Keys(Keys { everything, .. })
            | Task::ProxmoxInventory(ProxmoxInventory { everything, .. }) => !everything.all,
            Task::OmniStatus(OmniStatus { lines, .. })
            | Task::ProviderStatus(ProviderStatus { lines, .. })
            | Task::StackLogs(StackLogs { lines, .. }) => !lines.raw,
            Task::Doctor(Doctor { all, .. })
            | Task::ProxmoxAudit(ProxmoxAudit { all, .. })
            | Task::UpgradePlan(UpgradePlan { all, .. }) => !all,
            Task::OmniVerify => true,
            _ => false,
        }
    }

    /// Whether the task, as it was called, only reads files that were named by their paths: then it needs no project.
    pub fn reads_given_files(&self) -> bool {
        let paths = |names: &[String]| !names.is_empty() && names.iter().all(|name| inputs::is_given_file(name));
        match self {
            Task::MachineclassCheck(args) => paths(&args.name),
            Task::ClusterCheck(args) => paths(&args.name),
            Task::SelectorTest(args) => args.class.as_deref().is_none_or(inputs::is_given_file),
            Task::ClusterPlan(args) => args.inventory.is_some() && paths(&args.name),
            Task::Rehearse(args) => args.project.is_some(),
            Task::Triage { .. } | Task::PlanShow(_) | Task::Init { .. } => true,
            _ => false,
        }
    }
}

#[derive(Debug, Args)]
pub struct Rehearse {
    /// Time scale: 1 is real time
    #[arg(long, value_name = "N", default_value = "200")]
    pub clock: u32,
    /// Simulate a fault (NAME or NAME:WHEN, see `lab-faults`), and show what the task reports and what fixes it
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(faults))]
    pub fault: Vec<String>,
    /// Hide the fault's name: find and fix it from another terminal; then show its name and what the tasks report
    #[arg(long, requires = "fault")]
    pub drill: bool,
    /// Rehearse the life cycle of your own classes and clusters instead, in a scratch copy of this directory
    #[arg(long, value_name = "DIR", conflicts_with = "fault")]
    pub project: Option<PathBuf>,
    /// The Proxmox to simulate, as saved by `proxmox-inventory --save` [default: one that fits your classes]
    #[arg(long, value_name = "FILE", requires = "project")]
    pub inventory: Option<PathBuf>,
    /// Rehearse this cluster only; can be given more than once
    #[arg(long, value_name = "NAME", requires = "project")]
    pub cluster: Vec<String>,
    /// Simulate this many temporary faults
    #[arg(long, value_name = "N", requires = "project")]
    pub faults: Option<usize>,
    /// Seed that selects the faults: the same number selects the same faults
    #[arg(long, value_name = "S", requires = "faults")]
    pub seed: Option<u64>,
}

/// Which of several providers.
#[derive(Debug, Args)]
pub struct OneProvider {
    /// The provider, if there are several; without it all of them, or the only one
    #[arg(long, value_name = "ID", add = ArgValueCandidates::new(providers))]
    pub provider: Option<String>,
}

#[derive(Debug, Args)]
pub struct ProviderSetup {
    /// The provider's ID, exactly as it was created in Omni
    #[arg(long, value_name = "ID")]
    pub provider_id: Option<String>,
    /// Set up another provider in addition to the first, under this ID, with its files in docker/providers/ID
    #[arg(long, value_name = "ID", conflicts_with = "provider_id", add = ArgValueCandidates::new(providers))]
    pub provider: Option<String>,
    /// Omni endpoint, e.g. https://omni.example.ts.net
    #[arg(long, value_name = "URL")]
    pub omni_endpoint: Option<String>,
    /// Proxmox endpoint, e.g. https://pve.example.com:8006
    #[arg(long, value_name = "URL")]
    pub proxmox_url: Option<String>,
    /// Certificate authorities to trust in addition to the system's, e.g. /etc/pve/pve-root-ca.pem from Proxmox
    #[arg(long, value_name = "FILE")]
    pub ca_file: Option<String>,
    /// Skip TLS certificate verification for Proxmox, now and in the provider
    #[arg(long)]
    pub insecure_skip_tls_verify: bool,
}

#[derive(Debug, Args)]
pub struct ProviderStatus {
    #[command(flatten)]
    pub one: OneProvider,
    /// How many log lines to show
    #[arg(long, value_name = "N", default_value = "20")]
    pub tail: u32,
    /// Keep printing new lines
    #[arg(short, long, conflicts_with = "json")]
    pub follow: bool,
    #[command(flatten)]
    pub lines: Lines,
}

/// How log lines are printed.
#[derive(Debug, Default, Args)]
pub struct Lines {
    /// Print log lines as they are; without it a JSON document counts alike lines and has at most 8 kB
    #[arg(long, visible_alias = "all")]
    pub raw: bool,
}

impl Lines {
    /// A log for people.
    pub fn render<'a>(&self, log: &'a str) -> Cow<'a, str> {
        if self.raw { Cow::Borrowed(log) } else { Cow::Owned(log::format_log(log)) }
    }

    /// A log for the JSON document.
    pub fn document(&self, log: &str) -> Value {
        if self.raw { log.lines().collect() } else { json!(log::count_similar_lines(log)) }
    }
}

/// Whether a long list is printed in full.
#[derive(Debug, Default, Args)]
pub struct ListLength {
    /// List everything in the JSON document, which otherwise has at most 8 kB and counts the rest
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Default, Args)]
pub struct Allow {
    /// Ignore errors from this rule; docs/reference/checks.md lists the rules
    #[arg(long = "allow", value_name = "RULE", value_parser = parse_rule)]
    pub rules: Vec<&'static str>,
}

#[derive(Debug, Args)]
pub struct MachineclassCreate {
    /// The name of the machine class
    pub name: Option<String>,
    /// CPU cores
    #[arg(long, value_name = "N", visible_alias = "cpu")]
    pub cores: Option<u32>,
    /// Memory, e.g. 8GiB; a plain number is MiB
    #[arg(long, value_name = "SIZE", value_parser = Memory::parse)]
    pub memory: Option<Memory>,
    /// Disk, e.g. 40GiB; a plain number is GiB
    #[arg(long, value_name = "SIZE", value_parser = Disk::parse)]
    pub disk: Option<Disk>,
    /// Storage for the disk: a CEL expression, e.g. 'name == "local-lvm"'
    #[arg(long, value_name = "CEL")]
    pub selector: Option<String>,
    /// Node for the machines; without it the provider picks one
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// The provider that creates the machines; required if there are several
    #[arg(long, visible_alias = "provider", value_name = "ID", add = ArgValueCandidates::new(providers))]
    pub provider_id: Option<String>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
    /// Apply the machine class too
    #[arg(long)]
    pub apply: bool,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct MachineclassCheck {
    /// The machine classes, or files (`-` is standard input); without any, every file in machine-classes/
    #[arg(value_name = "NAME", conflicts_with = "all", add = ArgValueCandidates::new(classes))]
    pub name: Vec<String>,
    /// Check every file in machine-classes/
    #[arg(long)]
    pub all: bool,
    /// Do not contact Omni; use the built-in schema of the provider
    #[arg(long)]
    pub offline: bool,
    /// Check for this release of Omni instead of the running or pinned one
    #[arg(long, value_name = "VERSION", value_parser = parse_release)]
    pub omni_version: Option<Omni>,
    /// Check for this release of the provider instead of the running or pinned one
    #[arg(long, value_name = "VERSION", value_parser = one_of(Provider::VARIANTS, Into::into))]
    pub provider_version: Option<Provider>,
    /// Rewrite older formats into the current one, and explain each change
    #[arg(long)]
    pub convert: bool,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct MachineclassApply {
    /// The name of the machine class, or a file
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all", add = ArgValueCandidates::new(classes))]
    pub name: Option<String>,
    /// Apply every file in machine-classes/
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub plan: PlanOut,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct PlanOut {
    /// Write the plan to a file for `apply`, and change nothing
    #[arg(long, value_name = "FILE", conflicts_with = "dry_run")]
    pub plan_out: Option<PathBuf>,
    /// How long the plan can be applied
    #[arg(long, value_name = "DURATION", default_value = "24h", value_parser = parse_duration)]
    pub plan_expires: Duration,
}

impl PlanOut {
    /// What becomes of the plan.
    pub fn plan_file(&self) -> PlanFile<'_> {
        self.plan_out.as_deref().map_or(PlanFile::Unused, |file| PlanFile::Write(file, self.plan_expires))
    }
}

#[derive(Debug, Args)]
pub struct Keys {
    #[command(flatten)]
    pub one: OneProvider,
    /// Credential to replace: the provider's key, the tasks' service account, or the provider's token in Proxmox
    #[arg(long, value_enum, value_name = "NAME")]
    pub rotate: Option<RotatableKey>,
    /// Allow the run to destroy the service account NAME with several keys without typing the name
    #[arg(long, value_name = "NAME", requires = "rotate")]
    pub allow_destroy: Vec<String>,
    #[command(flatten)]
    pub everything: ListLength,
}

/// A credential that can be rotated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum RotatableKey {
    Provider,
    Account,
    Proxmox,
}

#[derive(Debug, Args)]
pub struct PlanShow {
    /// The file that --plan-out wrote
    pub file: PathBuf,
    /// Print Markdown, for a comment on a pull request
    #[arg(long)]
    pub markdown: bool,
}

#[derive(Debug, Args)]
pub struct Apply {
    /// The file that --plan-out wrote
    pub file: PathBuf,
    /// Do not wait until the clusters are running
    #[arg(long)]
    pub no_wait: bool,
    /// Allow the run to destroy machines of the cluster NAME without typing the name; can be given more than once
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
}

#[derive(Debug, Args)]
pub struct DriftArgs {
    #[command(flatten)]
    pub one: OneProvider,
    /// Exit with 3 when something differs, and with 1 when something could not be compared
    #[arg(long)]
    pub exit_code: bool,
    /// Compare network cards and additional disks even for more than 100 machines, with one request to Proxmox for each
    #[arg(long)]
    pub hardware: bool,
    #[command(flatten)]
    pub everything: ListLength,
}

#[derive(Debug, Args)]
pub struct Export {
    /// The name of the cluster or machine class in Omni
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all")]
    pub name: Option<String>,
    /// Export everything that Omni has; a file that differs is not overwritten
    #[arg(long)]
    pub all: bool,
    /// Replace files that differ
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct SelectorTest {
    #[command(flatten)]
    pub one: OneProvider,
    /// The storage selector, a CEL expression, e.g. 'name == "local-lvm"'
    #[arg(value_name = "EXPR", required_unless_present = "class", conflicts_with = "class")]
    pub expr: Option<String>,
    /// Test the selectors of this machine class, or file, instead
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(classes))]
    pub class: Option<String>,
    /// Test the storages of this node only
    #[arg(long, value_name = "NAME")]
    pub node: Option<String>,
    /// Read the storages from a saved inventory, or a JSON list of {name, node, storageType, availableSpace}; `-` is standard input
    #[arg(long, value_name = "FILE", visible_alias = "inventory")]
    pub storages: Option<PathBuf>,
    /// Do not contact Proxmox; without --storages the selector is only compiled
    #[arg(long)]
    pub offline: bool,
}

#[derive(Debug, Default, Args)]
pub struct ClusterCreate {
    /// The name of the cluster
    pub name: Option<String>,
    /// Number of control plane machines: 1, 3 or 5
    #[arg(long, value_name = "N")]
    pub control_planes: Option<u32>,
    /// Number of workers
    #[arg(long, value_name = "N")]
    pub workers: Option<u32>,
    /// The machine class of the control plane
    #[arg(long, value_name = "CLASS", add = ArgValueCandidates::new(classes))]
    pub control_plane_class: Option<String>,
    /// The machine class of the workers
    #[arg(long, value_name = "CLASS", add = ArgValueCandidates::new(classes))]
    pub worker_class: Option<String>,
    /// The Talos version, e.g. v1.13.13
    #[arg(long, value_name = "VERSION")]
    pub talos_version: Option<String>,
    /// The Kubernetes version, e.g. v1.36.3
    #[arg(long, value_name = "VERSION")]
    pub kubernetes_version: Option<String>,
    /// Overwrite an existing template
    #[arg(long)]
    pub force: bool,
    /// Do not wait until the cluster is running
    #[arg(long)]
    pub no_wait: bool,
    /// Allow the run to destroy machines of the cluster NAME without typing the name; can be given more than once
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct ClusterCheck {
    /// The clusters, or files (`-` is standard input); without any, every template in clusters/
    #[arg(value_name = "NAME", conflicts_with = "all", add = ArgValueCandidates::new(clusters))]
    pub name: Vec<String>,
    /// Check every template in clusters/
    #[arg(long)]
    pub all: bool,
    /// Do not contact Omni; use the classes in machine-classes/ and the built-in table of versions
    #[arg(long)]
    pub offline: bool,
    /// Check for this release of Omni and omnictl instead of the running or pinned one
    #[arg(long, value_name = "VERSION", value_parser = parse_release)]
    pub omni_version: Option<Omni>,
    /// Rewrite the nested format into the current one, and explain each change
    #[arg(long)]
    pub convert: bool,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct ClusterSync {
    /// The clusters, or files
    #[arg(value_name = "NAME", required_unless_present = "all", conflicts_with = "all", add = ArgValueCandidates::new(clusters))]
    pub name: Vec<String>,
    /// Sync every template in clusters/
    #[arg(long)]
    pub all: bool,
    #[command(flatten)]
    pub plan: PlanOut,
    /// Do not wait until the clusters are running
    #[arg(long)]
    pub no_wait: bool,
    /// Allow the run to destroy machines of the cluster NAME without typing the name; can be given more than once
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct ClusterStatus {
    /// Show this cluster in full
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: Option<String>,
    /// Output format: machines with node, VM, address, version and age; all data as YAML; or only names
    #[arg(short, long, value_enum, value_name = "FORM")]
    pub output: Option<OutputForm>,
    /// Omit what is Running and ready
    #[arg(long)]
    pub not_ready: bool,
    /// First wait until the cluster is Running and ready, or gone
    #[arg(long, value_enum, value_name = "STATE", requires = "name")]
    pub wait: Option<WaitFor>,
    /// Print the output again whenever something changes, until Ctrl-C or --timeout
    #[arg(short = 'w', long, conflicts_with_all = ["json", "output", "not_ready", "wait", "exit_code"])]
    pub watch: bool,
    /// Exit with 1 unless everything that is shown is Running and ready
    #[arg(long)]
    pub exit_code: bool,
    #[command(flatten)]
    pub everything: ListLength,
}

/// What `cluster-status` prints.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum OutputForm {
    Wide,
    Yaml,
    Name,
}

/// What `cluster-status` waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitFor {
    Running,
    Gone,
}

#[derive(Debug, Default, Args)]
pub struct ClusterExplain {
    /// Name of the cluster [default: the first one with a problem]
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: Option<String>,
    /// Only the machine with this UUID
    #[arg(long, value_name = "UUID", group = "one")]
    pub machine: Option<String>,
    /// Only the machine that runs in this virtual machine
    #[arg(long, value_name = "NODE/ID", group = "one")]
    pub vm: Option<String>,
    /// Only the machine of this machine request
    #[arg(long, value_name = "ID", group = "one")]
    pub request: Option<String>,
    /// Show how long each machine took for each step, and which was slow
    #[arg(long)]
    pub timeline: bool,
    /// Take the recommended step after confirmation, check again, and continue until nothing is broken or a step needs a human
    #[arg(long, conflicts_with = "one")]
    pub heal: bool,
    /// Allow --heal to destroy machines of the cluster NAME without typing the name
    #[arg(long, value_name = "NAME", requires = "heal", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
    /// Explain what a support bundle shows, offline, instead of this installation
    #[arg(long, value_name = "FILE", conflicts_with = "heal")]
    pub bundle: Option<PathBuf>,
    #[command(flatten)]
    pub everything: ListLength,
}

#[derive(Debug, Args)]
pub struct SupportBundle {
    /// The file to write, or its directory [default: omni-scale-support-DATE.tar.gz in the working directory]
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    #[command(flatten)]
    pub everything: ListLength,
}

#[derive(Debug, Args)]
pub struct ClusterScale {
    /// The cluster
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: String,
    /// How many workers, if there is only one set of workers
    #[arg(long, value_name = "N", required_unless_present = "set")]
    pub workers: Option<u32>,
    /// How many machines a set has: control-planes, workers, or the name of a worker set; can be given more than once
    #[arg(long, value_name = "NAME=N", value_parser = parse_set_size)]
    pub set: Vec<(String, u32)>,
    /// Do not wait until the cluster is running
    #[arg(long)]
    pub no_wait: bool,
    /// Allow the run to destroy machines of the cluster NAME without typing the name
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct MachineReplace {
    /// The machine: its name, its UUID, or its VM as NODE/ID
    #[arg(value_name = "ID")]
    pub id: String,
    /// Allow the run to destroy a machine of the cluster NAME without typing the name
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
}

#[derive(Debug, Args)]
pub struct MachineLogs {
    /// The machine: its name, its UUID, or its VM as NODE/ID
    #[arg(value_name = "ID")]
    pub name: String,
    /// Only the kernel's own lines, without those of Talos
    #[arg(long)]
    pub kernel: bool,
    /// How many lines to show
    #[arg(long, value_name = "N", default_value = "100", value_parser = clap::value_parser!(u32).range(..=100_000))]
    pub tail: u32,
    /// Include every line in the JSON document, instead of the last 6 KiB
    #[arg(long)]
    pub all: bool,
    /// Keep printing new lines
    #[arg(short, long, conflicts_with_all = ["json", "all"])]
    pub follow: bool,
}

#[derive(Debug, Args)]
pub struct ClusterUpgrade {
    /// The cluster
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters), required_unless_present = "all")]
    pub name: Option<String>,
    /// Upgrade Talos to this version
    #[arg(long, value_name = "VERSION")]
    pub talos: Option<String>,
    /// Upgrade Kubernetes to this version
    #[arg(long, value_name = "VERSION")]
    pub kubernetes: Option<String>,
    /// Upgrade every cluster, one after another
    #[arg(long, conflicts_with = "name")]
    pub all: bool,
    #[command(flatten)]
    pub allow: Allow,
}

#[derive(Debug, Args)]
pub struct ClusterKubeconfig {
    /// The cluster
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: String,
    /// Where to write it; without it NAME.kubeconfig in the project
    #[arg(long, value_name = "FILE", conflicts_with = "merge")]
    pub file: Option<PathBuf>,
    /// Merge it into the first file of KUBECONFIG that exists, else ~/.kube/config
    #[arg(long)]
    pub merge: bool,
    /// Log in as yourself with a browser (OIDC) instead of a service account's token; needs kubectl's plugin oidc-login
    #[arg(long, conflicts_with_all = ["service_account", "groups", "ttl"])]
    pub user: bool,
    /// The service account's name in Kubernetes
    #[arg(long, value_name = "NAME", default_value = "admin")]
    pub service_account: String,
    /// Its groups in Kubernetes
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',', default_value = "system:masters")]
    pub groups: Vec<String>,
    /// How long the token is valid, at most 8760h
    #[arg(long, value_name = "DURATION", default_value = "168h", value_parser = parse_duration)]
    pub ttl: Duration,
    /// Overwrite an existing file, or an entry of the same name
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct ClusterTalosconfig {
    /// The cluster
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: String,
    /// Where to write it; without it NAME.talosconfig in the project
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Overwrite an existing file
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct ClusterDelete {
    /// The cluster
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: String,
    /// Remove the template too
    #[arg(long)]
    pub forget: bool,
    /// Remove machines that Omni has lost without waiting for them to answer
    #[arg(long)]
    pub destroy_disconnected: bool,
    /// Allow the run to destroy the cluster NAME without typing the name
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub allow_destroy: Vec<String>,
}

#[derive(Debug, Args)]
pub struct ProxmoxAudit {
    #[command(flatten)]
    pub one: OneProvider,
    /// Show every API call with the privileges it needs, not only what is missing
    #[arg(long)]
    pub all: bool,
    /// The provider's release, instead of the one in docker/compose.yaml
    #[arg(long, value_name = "VERSION", value_parser = one_of(Provider::VARIANTS, Into::into))]
    pub provider_version: Option<Provider>,
}

#[derive(Debug, Args)]
pub struct ProxmoxInventory {
    #[command(flatten)]
    pub one: OneProvider,
    /// Save the inventory to a file, for cluster-plan and selector-test
    #[arg(long, value_name = "FILE")]
    pub save: Option<PathBuf>,
    #[command(flatten)]
    pub everything: ListLength,
}

#[derive(Debug, Args)]
pub struct FleetPage {
    /// The page
    #[arg(long, value_name = "FILE", default_value = "fleet.html")]
    pub out: PathBuf,
    /// Also write a picture of the nodes and machines
    #[arg(long, value_name = "FILE")]
    pub svg: Option<PathBuf>,
    /// Plan this cluster, or file; without it, every template in clusters/
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub plan: Option<String>,
    /// Plan as if this node were lost
    #[arg(long, value_name = "NODE")]
    pub without: Option<String>,
    /// Use a saved inventory instead of querying Proxmox
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// Show the contents of a support bundle, offline, instead of this installation
    #[arg(long, value_name = "FILE", conflicts_with = "inventory")]
    pub bundle: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct ClusterPlan {
    #[command(flatten)]
    pub one: OneProvider,
    /// The clusters, or files (`-` is standard input); without any, every template in clusters/
    #[arg(value_name = "NAME", add = ArgValueCandidates::new(clusters))]
    pub name: Vec<String>,
    #[command(flatten)]
    pub everything: ListLength,
    /// Use a saved inventory instead of querying Proxmox
    #[arg(long, value_name = "FILE")]
    pub inventory: Option<PathBuf>,
    /// A file of machine classes, for a template outside a project; can be given more than once
    #[arg(long, value_name = "FILE")]
    pub class: Vec<PathBuf>,
    /// The provider's release, instead of the one in docker/compose.yaml
    #[arg(long, value_name = "VERSION", value_parser = one_of(Provider::VARIANTS, Into::into))]
    pub provider_version: Option<Provider>,
}

#[derive(Debug, Args)]
pub struct OmniBackup {
    /// Directory for backups, or the new file; without it a directory of this user
    #[arg(long, value_name = "DIR|FILE")]
    pub to: Option<PathBuf>,
    /// Encrypt to this age public key or gpg key, and include the store key
    #[arg(long, value_name = "KEY")]
    pub recipient: Vec<String>,
    /// Keep the newest backup of each of this many days and weeks in the directory, and remove older backups
    #[arg(long, value_name = "RULE", value_parser = Retention::parse)]
    pub keep: Option<Retention>,
    /// Image with etcdctl and etcdutl of Omni's etcd, e.g. from your own registry
    #[arg(long, value_name = "IMAGE")]
    pub etcd_image: Option<String>,
}

#[derive(Debug, Args)]
pub struct OmniBackupVerify {
    /// The backup file [default: the last one created from this checkout]
    pub file: Option<PathBuf>,
    /// File with age's private key, for a backup that is encrypted with age
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// The store key, for a backup without it; without this flag docker/omni.asc
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
    /// Image with etcdctl and etcdutl of Omni's etcd, e.g. from your own registry
    #[arg(long, value_name = "IMAGE")]
    pub etcd_image: Option<String>,
    /// Also start Omni from the backup, on a Docker network that leads nowhere, and remove it again
    #[arg(long)]
    pub drill: bool,
}

#[derive(Debug, Args)]
pub struct OmniKeyRotate {
    /// Only add this public key, whose private half is kept offline, so that it opens the store too
    #[arg(long, value_name = "FILE", conflicts_with = "key")]
    pub recovery: Option<PathBuf>,
    /// Use this private key instead of creating one
    #[arg(long, value_name = "FILE")]
    pub key: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub struct OmniRestore {
    /// The backup
    pub file: PathBuf,
    /// File with age's private key, for a backup that is encrypted with age
    #[arg(long, value_name = "FILE")]
    pub identity: Option<PathBuf>,
    /// This host's address on the LAN of the machines, if it differs
    #[arg(long, value_name = "ADDRESS")]
    pub lan_address: Option<String>,
    /// Image with etcdctl and etcdutl of Omni's etcd, e.g. from your own registry
    #[arg(long, value_name = "IMAGE")]
    pub etcd_image: Option<String>,
}

#[derive(Debug, Args)]
pub struct OmnictlInstall {
    /// Omni endpoint to download it from
    #[arg(long, value_name = "URL")]
    pub omni_endpoint: Option<String>,
    /// Mirror of the releases, when neither Omni nor GitHub can be reached; its own sha256sum.txt is used to verify the download
    #[arg(long, value_name = "URL")]
    pub mirror: Option<String>,
    /// Install this release instead of the one that Omni offers, e.g. v1.10.6
    #[arg(long, value_name = "VERSION")]
    pub release: Option<String>,
    /// Install even if an omnictl of Omni's version is installed
    #[arg(long)]
    pub force: bool,
}

#[derive(Debug, Args)]
pub struct LabUp {
    /// Time scale: 1 is real time
    #[arg(long, value_name = "N", default_value = "200")]
    pub clock: u32,
    /// Simulate a fault: NAME or NAME:WHEN
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(faults))]
    pub fault: Vec<String>,
    /// Delay every response of the simulated services by this many milliseconds
    #[arg(long, value_name = "MS", default_value = "0")]
    pub latency_ms: u64,
    /// Print the state of the simulated services of a running lab instead
    #[arg(long)]
    pub dump: bool,
    #[command(flatten)]
    pub size: LabSize,
}

// How big a lab is at its start; without a doc comment, as above.
#[derive(Debug, Default, Clone, Args)]
pub struct LabSize {
    /// Number of Proxmox nodes at the start (3)
    #[arg(long, value_name = "N")]
    pub nodes: Option<u32>,
    /// Number of virtual machines at the start: three for each cluster, or unrelated machines if there is no cluster
    #[arg(long, value_name = "N")]
    pub vms: Option<u32>,
    /// Number of storages at the start (3)
    #[arg(long, value_name = "N")]
    pub storages: Option<u32>,
    /// Number of running clusters at the start, their files in the lab's project
    #[arg(long, value_name = "N")]
    pub clusters: Option<u32>,
    /// CPU time of each start of omnictl and docker, in milliseconds, as with the real programs
    #[arg(long, value_name = "MS")]
    pub tool_start_ms: Option<u32>,
}

#[derive(Debug, Args)]
pub struct OmniSetup {
    #[command(flatten)]
    pub values: OmniValues,
    /// Create a service account for the tasks, or renew its key; requires an administrator login
    #[arg(long, value_name = "ROLE", num_args = 0..=1, default_missing_value = "Operator")]
    pub service_account: Option<String>,
    /// The name of that service account
    #[arg(long, value_name = "NAME", default_value = "automation")]
    pub service_account_name: String,
}

#[derive(Debug, Default, Args)]
pub struct OmniValues {
    /// Omni's domain name, e.g. omni.example.com
    #[arg(long, value_name = "NAME")]
    pub domain: Option<String>,
    /// This host's IP address on the machines' LAN
    #[arg(long, value_name = "ADDRESS")]
    pub lan_address: Option<String>,
    /// E-mail address of the first administrator, as tsidp reports it
    #[arg(long, value_name = "EMAIL")]
    pub initial_user: Option<String>,
    /// The TLS certificate with its full chain, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_cert: Option<String>,
    /// The certificate's private key, in PEM
    #[arg(long, value_name = "FILE")]
    pub tls_key: Option<String>,
    /// tsidp's address, e.g. https://idp.example.ts.net
    #[arg(long, value_name = "URL")]
    pub issuer: Option<String>,
    /// The ID of Omni's client in tsidp; its secret is OIDC_CLIENT_SECRET
    #[arg(long, value_name = "ID")]
    pub client_id: Option<String>,
    /// The account ID of an Omni that is restored; without it one is generated, once
    #[arg(long, value_name = "UUID")]
    pub account_uuid: Option<String>,
}

#[derive(Debug, Args)]
pub struct OmniAdopt {
    /// The directory of its compose file, if there is more than one Omni on this host
    #[arg(long, value_name = "DIR")]
    pub from: Option<PathBuf>,
    /// Go back to the old stack: remove this project's containers, volumes and files, and start it again
    #[arg(long)]
    pub undo: bool,
    /// Confirm the loss of data that going back causes, by Omni's domain name; can be given more than once
    #[arg(long, value_name = "NAME")]
    pub allow_destroy: Vec<String>,
    #[command(flatten)]
    pub values: OmniValues,
}

#[derive(Debug, Args)]
pub struct OmniStatus {
    /// How many log lines of each container to show
    #[arg(long, value_name = "N", default_value = "20")]
    pub tail: u32,
    #[command(flatten)]
    pub lines: Lines,
}

#[derive(Debug, Args)]
pub struct Doctor {
    #[command(flatten)]
    pub one: OneProvider,
    /// Only the checks of this area; can be given more than once
    #[arg(long, value_name = "AREA", value_delimiter = ',', value_parser = one_of(Area::VARIANTS, Into::into))]
    pub area: Vec<Area>,
    /// Show every check, not only what needs attention
    #[arg(long)]
    pub all: bool,
}

#[derive(Debug, Args)]
pub struct StackLogs {
    /// omni-tailscale, omni or proxmox-provider; without it all of them
    #[arg(add = ArgValueCandidates::new(services))]
    pub service: Option<String>,
    /// How many lines of each container to show
    #[arg(long, value_name = "N", default_value = "100")]
    pub tail: u32,
    /// Keep printing new lines
    #[arg(short, long, conflicts_with = "json")]
    pub follow: bool,
    #[command(flatten)]
    pub lines: Lines,
}

#[derive(Debug, Args)]
pub struct UpgradePlan {
    /// Plan to this version instead of the recommended one; requires one of the four options below
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Plan Omni
    #[arg(long)]
    pub omni: bool,
    /// Plan the provider; all providers run the same release
    #[arg(long = "infra-provider", alias = "provider")]
    pub provider: bool,
    /// Plan Talos of every cluster
    #[arg(long)]
    pub talos: bool,
    /// Plan Kubernetes of every cluster
    #[arg(long)]
    pub kubernetes: bool,
    /// Plan all of them, which is the default, and list everything in the JSON document
    #[arg(long, conflicts_with_all = ["omni", "provider", "talos", "kubernetes", "to"])]
    pub all: bool,
    /// Read docker/compose.yaml and clusters/ instead of querying docker and Omni
    #[arg(long)]
    pub from_files: bool,
}

#[derive(Debug, Args)]
pub struct OmniUpgrade {
    /// Upgrade to this version, at most one minor version ahead
    #[arg(long, value_name = "VERSION")]
    pub to: Option<String>,
    /// Continue without a backup of the last day: there is no way back then
    #[arg(long)]
    pub without_backup: bool,
}

#[derive(Debug, Args)]
pub struct Ci {
    /// Run only these checks or groups
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', add = ArgValueCandidates::new(checks))]
    pub only: Vec<String>,
    /// Skip these checks
    #[arg(long, value_name = "NAME,…", value_delimiter = ',', add = ArgValueCandidates::new(checks))]
    pub skip: Vec<String>,
    /// Also run these groups, which are off by default: slow, kill, fuzz, docker, clients, browser
    #[arg(long, value_name = "GROUP,…", value_delimiter = ',', add = ArgValueCandidates::new(checks))]
    pub with: Vec<String>,
    /// Fix what can be fixed before checking
    #[arg(long)]
    pub fix: bool,
    /// List the checks, with what each one examines and what fixes it
    #[arg(long, conflicts_with = "fix")]
    pub list: bool,
}

#[derive(Debug, Args)]
pub struct Docs {
    /// Change nothing; fail if a page is out of date
    #[arg(long)]
    pub check: bool,
    /// Record the output shown in the pages again, by running the tasks against the lab
    #[arg(long, conflicts_with = "check")]
    pub record: bool,
}

/// A shell that can be completed in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    Bash,
    Zsh,
    Fish,
}

#[derive(Debug, Args)]
pub struct CommitCheck {
    /// The file that contains the message, as git passes it to the commit-msg hook
    #[arg(value_name = "FILE", conflicts_with = "range")]
    pub file: Option<PathBuf>,
    /// The commits, e.g. origin/main..HEAD; without it the commits that origin/main does not have, or the last commit
    #[arg(long, value_name = "RANGE")]
    pub range: Option<String>,
}

/// One of a few, by its name.
fn one_of<T: Copy + Send + Sync + 'static>(all: &'static [T], name: fn(T) -> &'static str) -> ValueParser {
    // A release may be written without its `v`.
    let bare =
        |name: &'static str| name.strip_prefix('v').filter(|rest| rest.starts_with(|c: char| c.is_ascii_digit()));
    let value = |one: &T| PossibleValue::new(name(*one)).aliases(bare(name(*one)));
    let parser = PossibleValuesParser::new(all.iter().map(value)).try_map(move |word| {
        let named = |one: &T| name(*one) == word || bare(name(*one)) == Some(word.as_str());
        all.iter().copied().find(named).ok_or("unknown name")
    });
    ValueParser::new(parser)
}

/// A release of Omni by its three numbers, with or without `v`.
fn parse_release(text: &str) -> Result<Omni, String> {
    Omni::of_tag(text)
        .ok_or_else(|| format!("{text:?} is not a release: write it like v{}", table().recommended.omni.version))
}

/// A duration as Go and operators write it: `90s`, `15m`, `1h30m`, `500ms`, or bare seconds.
fn parse_duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let nanos = time::duration(text).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| format!("{text:?} is not a valid duration: write 90s, 15m or 1h30m"))
}

/// A machine set and its size: `workers=3`.
fn parse_set_size(text: &str) -> Result<(String, u32), String> {
    let parsed = text.split_once('=').and_then(|(name, count)| Some((name, count.parse().ok()?)));
    let (name, count) = parsed.filter(|(name, _)| !name.is_empty()).ok_or("write NAME=N, e.g. workers=3")?;
    Ok((name.to_owned(), count))
}

/// A rule of the checks, by its id.
fn parse_rule(text: &str) -> Result<&'static str, String> {
    if let Some(rule) = find(text) {
        return Ok(&rule.id);
    }
    let near = nearest::list_nearest(text, RULES.iter().map(|rule| rule.id.as_str()), 3);
    Err(match near.as_slice() {
        [] => format!("unknown rule {text:?}; docs/reference/checks.md lists the rules"),
        near => format!("unknown rule {text:?}; similar: {}", near.join(", ")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_line_is_valid() {
        Cli::command().debug_assert();
    }

    /// The help as a terminal shows it.
    fn help(words: &[&str]) -> String {
        command_with_examples().try_get_matches_from(words).unwrap_err().render().to_string()
    }

    #[test]
    fn every_task_has_one_heading() {
        let mut listed: Vec<&str> = task_groups().flat_map(|(_, names)| names).collect();
        let cli = command();
        let mut tasks: Vec<&str> =
            cli.get_subcommands().filter(|task| !task.is_hide_set()).map(Command::get_name).collect();
        listed.sort_unstable();
        tasks.sort_unstable();
        assert_eq!(listed, tasks);
    }

    #[test]
    fn task_names_match_subcommands_and_examples_parse() {
        for task in command().get_subcommands().filter(|task| !task.is_hide_set()) {
            let text = help(&["xtask", task.get_name(), "--help"]);
            let (_, examples) = text.split_once("Examples:\n").unwrap_or_else(|| panic!("{text}"));
            for line in examples.lines().filter(|line| !line.is_empty()) {
                let words = shlex::split(line.trim_start().strip_prefix("cargo ").unwrap()).unwrap();
                let cli = Cli::try_parse_from(&words).unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(cli.task.name(), task.get_name(), "{line}");
            }
            let about = task.get_about().unwrap().to_string();
            assert!(text.starts_with(&about) && !about.ends_with('.'), "{about}");
            assert!(about.len() <= 57, "{about}: a line of the overview has 80 columns");
        }
    }

    #[test]
    fn help_follows_the_color_option() {
        for (line, choice) in [
            ("xtask --color never --help", ColorChoice::Never),
            ("xtask doctor --color=always --nonsense", ColorChoice::Always),
            ("xtask --help", ColorChoice::Auto),
            ("xtask --color", ColorChoice::Auto),
            ("xtask --json help", ColorChoice::Auto),
        ] {
            let args: Vec<OsString> = line.split(' ').map(Into::into).collect();
            assert_eq!(parse_color(&args), choice, "{line}");
            assert!(Cli::read(&args).is_err(), "{line}");
        }
    }

    #[test]
    fn durations_parse_as_in_go() {
        assert_eq!(parse_duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(parse_duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(parse_duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(parse_duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "m", "5x", "-1s", "1h-", "99999999999999999999s", "4294967296h"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
