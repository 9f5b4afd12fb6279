//! The command line as spf13/cobra reads it, and what it says of mistakes (siderolabs/omni v1.9.3 client/pkg/omnictl).

use std::collections::BTreeMap;
use std::time::Duration;

/// The type of a flag.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Text.
    Text,
    /// On or off.
    Switch,
    /// `5m`, `2s`.
    Time,
}

/// A flag: long name, short name, type.
pub type Flag = (&'static str, char, Type);

/// How many arguments a command takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Count {
    /// None, as `cobra.NoArgs` refuses them.
    None,
    /// Exactly so many.
    Exactly(usize),
    /// From, to.
    Between(usize, usize),
    /// At least.
    AtLeast(usize),
    /// At most.
    AtMost(usize),
}

/// A command of the tree.
pub struct Command {
    /// The names of the way to it; each step lists the name and its aliases.
    pub path: &'static [&'static [&'static str]],
    /// Its flags.
    pub flags: &'static [Flag],
    /// Flags that must be there, sorted.
    pub required: &'static [&'static str],
    /// Its arguments.
    pub count: Count,
}

const FILE: Flag = ("file", 'f', Type::Text);
const VERBOSE: Flag = ("verbose", 'v', Type::Switch);
const DRY_RUN: Flag = ("dry-run", 'd', Type::Switch);
const QUIET: Flag = ("quiet", 'q', Type::Switch);
const WAIT: Flag = ("wait", 'w', Type::Time);
const TTL: Flag = ("ttl", 't', Type::Time);
const ALLOWED: Flag = ("allowed-dir", '\0', Type::Text);
const DESTROY: Flag = ("destroy-disconnected-machines", '\0', Type::Switch);
const CLUSTER: &[&str] = &["cluster", "c"];
const TEMPLATE: &[&str] = &["template", "t"];
const PROVIDER: &[&str] = &["infraprovider", "ip"];
const ACCOUNT: &[&str] = &["serviceaccount", "sa"];

/// The commands that are simulated.
pub const COMMANDS: &[Command] = &[
    Command { path: &[&["apply"]], flags: &[FILE, VERBOSE, DRY_RUN], required: &["file"], count: Count::None },
    Command {
        path: &[&["get", "g"]],
        flags: &[
            ("namespace", 'n', Type::Text),
            ("watch", 'w', Type::Switch),
            ("output", 'o', Type::Text),
            ("selector", 'l', Type::Text),
            ("id-match-regexp", '\0', Type::Text),
        ],
        required: &[],
        count: Count::Between(1, 2),
    },
    Command {
        path: &[&["delete", "d"]],
        flags: &[("namespace", 'n', Type::Text), ("all", '\0', Type::Switch), ("selector", 'l', Type::Text)],
        required: &[],
        count: Count::AtLeast(1),
    },
    template("validate", &[FILE, ALLOWED]),
    template("render", &[FILE, ALLOWED]),
    template("sync", &[FILE, ALLOWED, VERBOSE, DRY_RUN]),
    template("diff", &[FILE, ALLOWED]),
    template("status", &[FILE, ALLOWED, QUIET, WAIT]),
    template("delete", &[FILE, ALLOWED, VERBOSE, DRY_RUN, DESTROY]),
    Command { path: &[CLUSTER, &["status"]], flags: &[QUIET, WAIT], required: &[], count: Count::Exactly(1) },
    Command {
        path: &[CLUSTER, &["delete"]],
        flags: &[VERBOSE, DRY_RUN, DESTROY],
        required: &[],
        count: Count::Exactly(1),
    },
    Command {
        path: &[&["kubeconfig"]],
        flags: &[
            ("cluster", 'c', Type::Text),
            ("force", 'f', Type::Switch),
            ("force-context-name", '\0', Type::Text),
            ("merge", 'm', Type::Switch),
            ("service-account", '\0', Type::Switch),
            ("ttl", '\0', Type::Time),
            ("user", '\0', Type::Text),
            ("groups", '\0', Type::Text),
            ("grant-type", '\0', Type::Text),
            ("break-glass", '\0', Type::Switch),
        ],
        required: &["cluster"],
        count: Count::AtMost(1),
    },
    Command {
        path: &[&["talosconfig"]],
        flags: &[
            ("cluster", 'c', Type::Text),
            ("force", 'f', Type::Switch),
            ("merge", 'm', Type::Switch),
            ("break-glass", '\0', Type::Switch),
        ],
        required: &[],
        count: Count::AtMost(1),
    },
    Command { path: &[PROVIDER, &["create", "c"]], flags: &[TTL], required: &[], count: Count::Exactly(1) },
    Command { path: &[PROVIDER, &["renewkey", "r"]], flags: &[TTL], required: &[], count: Count::Exactly(1) },
    Command { path: &[PROVIDER, &["list", "l"]], flags: &[], required: &[], count: Count::None },
    Command { path: &[PROVIDER, &["delete", "d"]], flags: &[], required: &[], count: Count::Exactly(1) },
    Command {
        path: &[ACCOUNT, &["create", "c"]],
        flags: &[TTL, ("role", 'r', Type::Text), ("use-user-role", 'u', Type::Switch)],
        required: &[],
        count: Count::Exactly(1),
    },
    Command { path: &[ACCOUNT, &["renew", "r"]], flags: &[TTL], required: &[], count: Count::Exactly(1) },
    Command { path: &[ACCOUNT, &["list", "l"]], flags: &[], required: &[], count: Count::None },
    Command { path: &[ACCOUNT, &["destroy", "d"]], flags: &[], required: &[], count: Count::Exactly(1) },
    Command { path: &[&["user"], &["list"]], flags: &[], required: &[], count: Count::Exactly(0) },
];

const fn template(name: &'static str, flags: &'static [Flag]) -> Command {
    let path: &'static [&'static [&'static str]] = match name.as_bytes()[0] {
        b'v' => &[CLUSTER, TEMPLATE, &["validate"]],
        b'r' => &[CLUSTER, TEMPLATE, &["render"]],
        b'd' => match name.as_bytes()[1] {
            b'i' => &[CLUSTER, TEMPLATE, &["diff"]],
            _ => &[CLUSTER, TEMPLATE, &["delete"]],
        },
        _ => match name.as_bytes()[1] {
            b'y' => &[CLUSTER, TEMPLATE, &["sync"]],
            _ => &[CLUSTER, TEMPLATE, &["status"]],
        },
    };
    Command { path, flags, required: &["file"], count: Count::None }
}

/// Commands that the real program has and the stand-in does not.
const NOT_SIMULATED: &[&str] = &[
    "audit-log",
    "completion",
    "config",
    "configure",
    "download",
    "edit",
    "help",
    "jointoken",
    "jt",
    "machine",
    "machine-logs",
    "l",
    "media",
    "support",
];
const GLOBAL: &[Flag] = &[
    ("omniconfig", '\0', Type::Text),
    ("context", '\0', Type::Text),
    ("insecure-skip-tls-verify", '\0', Type::Switch),
    ("siderov1-keys-dir", '\0', Type::Text),
    ("help", 'h', Type::Switch),
    ("version", 'v', Type::Switch),
];

/// A call that was understood.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Parsed {
    /// The names of the command, such as `cluster template sync`; empty for the program itself.
    pub command: String,
    /// Arguments.
    pub args: Vec<String>,
    /// Flags that were given, by long name; a switch is `true` or `false`.
    pub flags: BTreeMap<String, String>,
}

impl Parsed {
    /// The value of a flag, empty if it was not given.
    pub fn text(&self, flag: &str) -> &str {
        self.flags.get(flag).map(String::as_str).unwrap_or_default()
    }

    /// Whether a switch is on.
    pub fn on(&self, flag: &str) -> bool {
        self.text(flag) == "true"
    }

    /// A duration, if it was given.
    pub fn time(&self, flag: &str) -> Option<Duration> {
        duration(self.flags.get(flag)?)
    }
}

/// Why a call was not understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// What the real program says after `Error: `.
    Error(String),
    /// The real program may know it; the stand-in does not.
    Unknown,
}

/// Reads a command line.
pub fn parse(argv: &[String]) -> Result<Parsed, Refused> {
    let (command, rest) = find(argv)?;
    let mut parsed = Parsed::default();
    let flags = command.map_or(&[][..], |command| command.flags);
    if let Some(command) = command {
        parsed.command = command.path.iter().map(|names| names[0]).collect::<Vec<_>>().join(" ");
    }
    read_flags(&rest, flags, command.is_none(), &mut parsed)?;
    if parsed.on("help") {
        return Err(Refused::Unknown);
    }
    let Some(command) = command else {
        return if parsed.on("version") { Ok(parsed) } else { Err(Refused::Unknown) };
    };
    check_count(command, &parsed)?;
    let missing: Vec<String> = command
        .required
        .iter()
        .filter(|name| !parsed.flags.contains_key(**name))
        .map(|name| format!("{name:?}"))
        .collect();
    if !missing.is_empty() {
        return Err(Refused::Error(format!("required flag(s) {} not set", missing.join(", "))));
    }
    Ok(parsed)
}

/// Finds the command: the words that are no flags, down the tree, and what remains without them.
fn find(argv: &[String]) -> Result<(Option<&'static Command>, Vec<String>), Refused> {
    let mut rest = argv.to_vec();
    let mut candidates: Vec<&Command> = COMMANDS.iter().collect();
    let mut depth = 0;
    let mut at = 0;
    while at < rest.len() {
        let word = rest[at].clone();
        if word == "--" {
            break;
        }
        if word.starts_with('-') {
            // Flags before the command take their value along when it stands apart.
            let long = word.trim_start_matches('-');
            let takes = GLOBAL.iter().any(|(name, _, typ)| *name == long && *typ != Type::Switch);
            at += if takes { 2 } else { 1 };
            continue;
        }
        let next: Vec<&Command> = candidates
            .iter()
            .copied()
            .filter(|command| command.path.get(depth).is_some_and(|names| names.contains(&word.as_str())))
            .collect();
        if next.is_empty() {
            return match depth {
                0 if NOT_SIMULATED.contains(&word.as_str()) => Err(Refused::Unknown),
                0 => Err(Refused::Error(unknown_command(&word))),
                // A group prints its help, whatever word follows.
                _ => Err(Refused::Unknown),
            };
        }
        rest.remove(at);
        depth += 1;
        if let Some(leaf) = next.iter().find(|command| command.path.len() == depth) {
            return Ok((Some(leaf), rest));
        }
        candidates = next;
    }
    if depth > 0 { Err(Refused::Unknown) } else { Ok((None, rest)) }
}

fn unknown_command(word: &str) -> String {
    let near: Vec<&str> = COMMANDS
        .iter()
        .map(|command| command.path[0][0])
        .filter(|name| name.starts_with(word) || distance(word, name) <= 2)
        .collect();
    let mut near = near;
    near.dedup();
    let suggestion = match near.is_empty() {
        true => String::new(),
        false => {
            format!("\nDid you mean this?\n{}\n", near.iter().map(|name| format!("\t{name}\n")).collect::<String>())
        }
    };
    format!("unknown command {word:?} for \"omnictl\"\n{suggestion}Run 'omnictl --help' for usage.")
}

fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut before = row[0];
        row[0] = i + 1;
        for (j, y) in b.iter().enumerate() {
            let replaced = before + usize::from(x != *y);
            before = row[j + 1];
            row[j + 1] = replaced.min(before + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

fn read_flags(argv: &[String], flags: &[Flag], root: bool, parsed: &mut Parsed) -> Result<(), Refused> {
    let error = |text: String| Err(Refused::Error(text));
    let all = || flags.iter().chain(GLOBAL.iter().filter(|(name, ..)| root || *name != "version"));
    let mut words = argv.iter();
    while let Some(word) = words.next() {
        if word == "--" {
            parsed.args.extend(words.cloned());
            return Ok(());
        }
        if let Some(long) = word.strip_prefix("--") {
            let (name, given) =
                long.split_once('=').map_or((long, None), |(name, value)| (name, Some(value.to_owned())));
            let Some(flag) = all().find(|(known, ..)| *known == name) else {
                return error(format!("unknown flag: --{name}"));
            };
            let value = match (flag.2, given) {
                (_, Some(value)) => value,
                (Type::Switch, None) => "true".to_owned(),
                (_, None) => match words.next() {
                    Some(value) => value.clone(),
                    None => return error(format!("flag needs an argument: --{name}")),
                },
            };
            set(flag, value, parsed)?;
            continue;
        }
        let Some(shorts) = word.strip_prefix('-').filter(|rest| !rest.is_empty()) else {
            parsed.args.push(word.clone());
            continue;
        };
        let mut rest = shorts;
        while let Some(short) = rest.chars().next() {
            let after = &rest[short.len_utf8()..];
            let Some(flag) = all().find(|(_, known, _)| *known == short && short != '\0') else {
                return error(format!("unknown shorthand flag: {short:?} in -{rest}"));
            };
            let (value, next) = match after.strip_prefix('=') {
                Some(value) => (value.to_owned(), ""),
                None if flag.2 == Type::Switch => ("true".to_owned(), after),
                None if !after.is_empty() => (after.to_owned(), ""),
                None => match words.next() {
                    Some(value) => (value.clone(), ""),
                    None => return error(format!("flag needs an argument: {short:?} in -{rest}")),
                },
            };
            set(flag, value, parsed)?;
            rest = next;
        }
    }
    Ok(())
}

fn set(flag: &Flag, value: String, parsed: &mut Parsed) -> Result<(), Refused> {
    let (name, short, typ) = flag;
    let shown = if *short == '\0' { format!("--{name}") } else { format!("-{short}, --{name}") };
    let invalid = |why: String| Err(Refused::Error(format!("invalid argument {value:?} for {shown:?} flag: {why}")));
    let value = match typ {
        Type::Text => value,
        Type::Switch => match value.as_str() {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => "true".to_owned(),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => "false".to_owned(),
            _ => return invalid(format!("strconv.ParseBool: parsing {value:?}: invalid syntax")),
        },
        Type::Time if duration(&value).is_some() => value,
        Type::Time => return invalid(format!("time: invalid duration {value:?}")),
    };
    parsed.flags.insert((*name).to_owned(), value);
    Ok(())
}

fn check_count(command: &Command, parsed: &Parsed) -> Result<(), Refused> {
    let got = parsed.args.len();
    let text = match command.count {
        Count::None if got > 0 => format!("unknown command {:?} for \"omnictl {}\"", parsed.args[0], parsed.command),
        Count::Exactly(wanted) if got != wanted => format!("accepts {wanted} arg(s), received {got}"),
        Count::Between(from, to) if !(from..=to).contains(&got) => {
            format!("accepts between {from} and {to} arg(s), received {got}")
        }
        Count::AtLeast(least) if got < least => format!("requires at least {least} arg(s), only received {got}"),
        Count::AtMost(most) if got > most => format!("accepts at most {most} arg(s), received {got}"),
        _ => return Ok(()),
    };
    Err(Refused::Error(text))
}

/// Go's `time.ParseDuration`: `1h30m`, `2.5s`, `0`.
pub fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text.strip_prefix('+').unwrap_or(text);
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let units = [("ms", 1e-3), ("us", 1e-6), ("µs", 1e-6), ("ns", 1e-9), ("s", 1.0), ("m", 60.0), ("h", 3600.0)];
        let (unit, factor) = units.iter().find(|(unit, _)| rest.starts_with(unit))?;
        total += number * factor;
        rest = &rest[unit.len()..];
    }
    (!text.is_empty() && total <= 1e12).then(|| Duration::from_secs_f64(total))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(line: &str) -> Result<Parsed, Refused> {
        parse(&line.split_whitespace().map(str::to_owned).collect::<Vec<_>>())
    }

    #[test]
    fn commands_are_found_with_their_aliases() {
        let parsed = call("c t sync -vd -f x.yaml").unwrap();
        assert_eq!(parsed.command, "cluster template sync");
        assert!(parsed.on("verbose") && parsed.on("dry-run"));
        assert_eq!(parsed.text("file"), "x.yaml");
        let parsed = call("--context a get -ojson clusters demo -n=x --watch=false").unwrap();
        assert_eq!((parsed.args.len(), parsed.text("output"), parsed.text("namespace")), (2, "json", "x"));
        assert!(call("--version").unwrap().on("version"));
        assert_eq!(call("cluster status x -w 1m30s").unwrap().time("wait"), Some(Duration::from_secs(90)));
    }

    #[test]
    fn mistakes_are_named_as_by_cobra() {
        for (line, wanted) in [
            ("get clusters -x", "unknown shorthand flag: 'x' in -x"),
            ("get clusters -o", "flag needs an argument: 'o' in -o"),
            ("get clusters --output", "flag needs an argument: --output"),
            (
                "cluster status x -w abc",
                "invalid argument \"abc\" for \"-w, --wait\" flag: time: invalid duration \"abc\"",
            ),
            (
                "get clusters --watch=maybe",
                "invalid argument \"maybe\" for \"-w, --watch\" flag: strconv.ParseBool: parsing \"maybe\": invalid syntax",
            ),
            ("delete", "requires at least 1 arg(s), only received 0"),
            ("infraprovider create a b", "accepts 1 arg(s), received 2"),
            ("apply foo -f x", "unknown command \"foo\" for \"omnictl apply\""),
            ("apply", "required flag(s) \"file\" not set"),
            ("kubeconfig a b -c x", "accepts at most 1 arg(s), received 2"),
            ("get", "accepts between 1 and 2 arg(s), received 0"),
            ("--foo", "unknown flag: --foo"),
            ("nope", "unknown command \"nope\" for \"omnictl\"\nRun 'omnictl --help' for usage."),
            (
                "gett",
                "unknown command \"gett\" for \"omnictl\"\n\nDid you mean this?\n\tget\n\nRun 'omnictl --help' for usage.",
            ),
            ("user list x", "accepts 0 arg(s), received 1"),
        ] {
            assert_eq!(call(line), Err(Refused::Error(wanted.to_owned())), "{line}");
        }
        for line in ["support -c x", "cluster", "cluster foo", "", "get --help", "edit clusters x"] {
            assert_eq!(call(line), Err(Refused::Unknown), "{line}");
        }
    }
}
