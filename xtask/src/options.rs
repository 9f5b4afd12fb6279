//! Options of a task: a table of fields makes the struct, what clap knows of it, and how it is read.
//!
//! ```text
//! options! {
//!     pub struct ProviderStatus {
//!         /// How many log lines to show
//!         pub tail: u32 = "--tail N", |arg| arg.default_value("20");
//!         pub service: Option<String> = "SERVICE";
//!     }
//! }
//! ```
//!
//! The type says the rest: a flag is a `bool`, an `Option` may be missing, a `Vec` may come more than once, and anything else
//! must be there. clap's own derive would do; with what it needs it takes a fifth of the first build (docs/benchmarks.md).

use std::path::PathBuf;
use std::time::Duration;

use clap::builder::{PossibleValuesParser, TypedValueParser, ValueParser};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};

use domain::spec::size::{Disk, Memory};
use selector::time;

/// A struct of options.
pub trait Options: Sized {
    /// The command, with these options.
    fn add(command: Command) -> Command;

    /// The options, out of a command line that clap has taken.
    fn read(matches: &ArgMatches) -> Self;
}

/// Makes structs of options: see the head of this file. `..size: LabSize;` takes in those of another one.
macro_rules! options {
    ($($(#[$meta:meta])* pub struct $Name:ident {
        $(#[doc = $help:literal] pub $field:ident: $type:ty = $spelling:literal $(, $refine:expr)?;)*
        $(..$part:ident: $Part:ty;)?
    })*) => {$(
        $(#[$meta])*
        #[derive(Debug)]
        pub struct $Name {
            $(#[doc = $help] pub $field: $type,)*
            $(pub $part: $Part,)?
        }

        impl $crate::options::Options for $Name {
            fn add(command: clap::Command) -> clap::Command {
                let command = command $(.arg({
                    let arg = $crate::options::spelled(stringify!($field), $spelling).help($help.trim());
                    $(let refine: fn(clap::Arg) -> clap::Arg = $refine; let arg = refine(arg);)?
                    <$type as $crate::options::Held>::describe(arg)
                }))*;
                $(let command = <$Part as $crate::options::Options>::add(command);)?
                command
            }

            fn read(matches: &clap::ArgMatches) -> $Name {
                $Name {
                    $($field: $crate::options::Held::take(matches, stringify!($field)),)*
                    $($part: <$Part as $crate::options::Options>::read(matches),)?
                }
            }
        }
    )*};
}
pub(crate) use options;

/// The argument that is written `-f --follow`, `--tail N` or, without a dash, `NAME`.
pub fn spelled(id: &'static str, spelling: &'static str) -> Arg {
    spelling.split(' ').fold(Arg::new(id), |arg, word| match (word.strip_prefix("--"), word.strip_prefix('-')) {
        (Some(long), _) => arg.long(long),
        (None, Some(short)) => short.chars().fold(arg, Arg::short),
        (None, None) => arg.value_name(word),
    })
}

/// What an option holds: how often it may come, and what comes of it.
pub trait Held: Sized {
    fn describe(arg: Arg) -> Arg;
    fn take(matches: &ArgMatches, id: &str) -> Self;
}

impl Held for bool {
    fn describe(arg: Arg) -> Arg {
        arg.action(ArgAction::SetTrue)
    }

    fn take(matches: &ArgMatches, id: &str) -> bool {
        matches.get_flag(id)
    }
}

impl<V: Value> Held for V {
    fn describe(arg: Arg) -> Arg {
        let required = arg.get_default_values().is_empty();
        arg.required(required).value_parser(V::parser())
    }

    fn take(matches: &ArgMatches, id: &str) -> V {
        matches.get_one(id).cloned().expect("clap has refused a command line without it")
    }
}

impl<V: Value> Held for Option<V> {
    fn describe(arg: Arg) -> Arg {
        arg.value_parser(V::parser())
    }

    fn take(matches: &ArgMatches, id: &str) -> Option<V> {
        matches.get_one(id).cloned()
    }
}

impl<V: Value> Held for Vec<V> {
    fn describe(arg: Arg) -> Arg {
        arg.action(ArgAction::Append).value_parser(V::parser())
    }

    fn take(matches: &ArgMatches, id: &str) -> Vec<V> {
        matches.get_many(id).map(|values| values.cloned().collect()).unwrap_or_default()
    }
}

/// What can stand on a command line.
pub trait Value: Clone + Send + Sync + 'static {
    fn parser() -> ValueParser;
}

/// Values, by the parser of each.
macro_rules! values {
    ($($Type:ty = $parser:expr;)*) => {
        $(impl $crate::options::Value for $Type {
            fn parser() -> clap::builder::ValueParser {
                clap::builder::ValueParser::from($parser)
            }
        })*
    };
}
pub(crate) use values;

values! {
    String = value_parser!(String);
    PathBuf = value_parser!(PathBuf);
    u32 = value_parser!(u32);
    u64 = value_parser!(u64);
    Duration = ValueParser::new(duration);
    Memory = ValueParser::new(Memory::parse);
    Disk = ValueParser::new(Disk::parse);
}

/// One of a few, by its name.
pub fn one_of<T: Copy + Send + Sync + 'static>(all: &'static [T], name: fn(T) -> &'static str) -> ValueParser {
    let parser = PossibleValuesParser::new(all.iter().map(|one| name(*one)))
        .try_map(move |word| all.iter().copied().find(|one| name(*one) == word).ok_or("there is none of this name"));
    ValueParser::new(parser)
}

/// A duration as Go and operators write it: `90s`, `15m`, `1h30m`, `500ms`, or bare seconds.
fn duration(text: &str) -> Result<Duration, String> {
    if let Ok(seconds) = text.parse::<u64>() {
        return Ok(Duration::from_secs(seconds));
    }
    let nanos = time::duration(text).and_then(|nanos| u64::try_from(nanos).ok());
    nanos.map(Duration::from_nanos).ok_or_else(|| format!("{text:?} is no duration: write 90s, 15m or 1h30m"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use runtime::ui::Color;

    options! {
        pub struct Given {
            /// Each of them
            pub one: Vec<String> = "NAME", |arg| arg.conflicts_with("all");
            /// All
            pub all: bool = "-a --all";
            /// How many
            pub many: u32 = "--how-many N", |arg| arg.default_value("20");
            /// How long
            pub long: Option<Duration> = "--long DURATION";
            ..more: More;
        }

        #[derive(PartialEq)]
        pub struct More {
            /// How coloured
            pub color: Color = "--color WHEN";
        }
    }

    fn read(line: &str) -> Result<Given, clap::Error> {
        let words = std::iter::once("x").chain(line.split(' '));
        Ok(Given::read(&Given::add(Command::new("x")).try_get_matches_from(words)?))
    }

    #[test]
    fn a_table_is_a_command_line() {
        Given::add(Command::new("x")).debug_assert();
        let given = read("a b --color never --long 90s").unwrap();
        assert_eq!((given.one, given.all, given.many), (vec!["a".to_owned(), "b".to_owned()], false, 20));
        assert_eq!((given.long, given.more), (Some(Duration::from_secs(90)), More { color: Color::Never }));
        let given = read("-a --color=auto --how-many 3").unwrap();
        assert_eq!((given.one, given.all, given.many, given.long), (vec![], true, 3, None));
        for bad in ["a", "a --color grey", "a -a --color never", "--color never --long x", "--color never --how-many x"]
        {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_are_read_as_go_writes_them() {
        assert_eq!(duration("90"), Ok(Duration::from_secs(90)));
        assert_eq!(duration("1h30m"), Ok(Duration::from_secs(5_400)));
        assert_eq!(duration("1.5s"), Ok(Duration::from_millis(1_500)));
        assert_eq!(duration("500ms"), Ok(Duration::from_millis(500)));
        for bad in ["", "m", "5x", "-1s", "1h-", "99999999999999999999s", "4294967296h"] {
            assert!(duration(bad).is_err(), "{bad}");
        }
    }
}
