//! The far ends, simulated: `lab serve` and its friends, and under other names the stand-ins.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use lab::daemon::{self, Options};
use lab::faults;
use lab::fill::Size;
use lab::omni::kinds::Release;
use lab::tools::wire::{self, Ask, Told};
use lab::tools::{docker, omnictl};

const USAGE: &str = "\
usage: lab serve --dir DIR [--clock N] [--fault NAME[:WHEN]]… [--latency-ms N] [--until-stdin-closes] [--omni-version V]
                 [--nodes N] [--vms N] [--storages N] [--clusters N] [--tool-start-ms N]
       lab dump --dir DIR
       lab stop --dir DIR
       lab faults
       lab proxmox --listen 127.0.0.1:8006 [--plain-http] [--clock N] [--token-secret UUID]

Faults: NAME always, NAME:2 the second time only, NAME:2+ from then on, NAME:..2 the first two times.
--clock is how many seconds of the field pass in one second here, 200 unless given; 1 is the field's pace.
--omni-version is 1.9.3 or 1.4.9, of which recordings of the real omnictl exist.
--nodes 64 --vms 10000 --storages 500 --clusters 200 begins with a site in use: the machines are shared among the
clusters, whose files stand in DIR/machine-classes and DIR/clusters; without clusters they are other people's.
--tool-start-ms is the processor time that each start of omnictl and docker costs here.";

fn main() {
    let words: Result<Vec<String>, _> = std::env::args_os().map(std::ffi::OsString::into_string).collect();
    let Ok(mut args) = words else {
        eprintln!("the lab's programs take UTF-8 alone, in paths too");
        std::process::exit(1);
    };
    let called = if args.is_empty() { String::new() } else { args.remove(0) };
    let name = Path::new(&called).file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let code = match name.as_str() {
        "omnictl" => omnictl::run(&called, &args),
        "docker" => docker::run(&called, &args),
        // A downloaded omnictl may be called anything.
        other if other != "lab" && wire::trailer().is_some() => omnictl::run(&called, &args),
        _ => match run(&args) {
            Ok(()) => 0,
            Err(why) => {
                eprintln!("lab: {why:#}");
                1
            }
        },
    };
    std::process::exit(code);
}

fn run(args: &[String]) -> Result<()> {
    let (command, rest) = args.split_first().map_or(("", &[][..]), |(first, rest)| (first.as_str(), rest));
    match command {
        "serve" => runtime()?.block_on(daemon::serve(options(rest)?)),
        "dump" => match daemon::ask(&dir_of(rest)?, &Ask::Dump)? {
            Told::Dump(state) => {
                println!("{state}");
                Ok(())
            }
            other => bail!("unexpected answer of the lab: {other:?}"),
        },
        "stop" => {
            let dir = dir_of(rest)?;
            daemon::ask(&dir, &Ask::Stop)?;
            daemon::wait_for_end(&dir)
        }
        "faults" => {
            lab::tools::out(&format!("{}\n", faults::list()));
            Ok(())
        }
        "proxmox" => runtime()?.block_on(lab::proxmox::alone::run_alone(rest)),
        "help" | "--help" | "-h" => {
            println!("{USAGE}");
            Ok(())
        }
        "" => bail!("no command\n{USAGE}"),
        other => bail!("there is no command {other:?}\n{USAGE}"),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    builder.worker_threads(2).enable_all().build().context("cannot start the runtime")
}

fn dir_of(args: &[String]) -> Result<PathBuf> {
    match args {
        [flag, dir] if flag == "--dir" => Ok(PathBuf::from(dir)),
        _ => bail!("--dir DIR is missing, or something else is there\n{USAGE}"),
    }
}

fn options(args: &[String]) -> Result<Options> {
    let mut options = Options {
        dir: PathBuf::new(),
        clock: 200.0,
        faults: Vec::new(),
        latency: Duration::ZERO,
        until_stdin_closes: false,
        release: Release::default(),
        size: Size::default(),
        tool_start: Duration::ZERO,
    };
    let mut words = args.iter();
    while let Some(word) = words.next() {
        let mut value = || words.next().with_context(|| format!("{word} needs a value\n{USAGE}"));
        match word.as_str() {
            "--dir" => options.dir = PathBuf::from(value()?),
            "--clock" => {
                let text = value()?;
                let factor: f64 = text.parse().with_context(|| format!("--clock {text}: this is no number"))?;
                if factor.is_nan() || factor <= 0.0 {
                    bail!("--clock {text}: time must pass");
                }
                options.clock = factor;
            }
            "--fault" => options.faults.push(value()?.clone()),
            "--latency-ms" => options.latency = Duration::from_millis(number(word, value()?)?),
            "--tool-start-ms" => options.tool_start = Duration::from_millis(number(word, value()?)?),
            "--nodes" => options.size.nodes = number(word, value()?)?,
            "--vms" => options.size.vms = number(word, value()?)?,
            "--storages" => options.size.storages = number(word, value()?)?,
            "--clusters" => options.size.clusters = number(word, value()?)?,
            "--until-stdin-closes" => options.until_stdin_closes = true,
            "--omni-version" => {
                let text = value()?;
                options.release =
                    Release::parse(text).with_context(|| format!("--omni-version {text}: use 1.9.3 or 1.4.9"))?;
            }
            other => bail!("{other}: unknown\n{USAGE}"),
        }
    }
    if options.dir.as_os_str().is_empty() {
        bail!("--dir DIR is missing\n{USAGE}");
    }
    options.size.check()?;
    Ok(options)
}

fn number<N: std::str::FromStr>(word: &str, text: &str) -> Result<N> {
    text.parse().map_err(|_| anyhow::anyhow!("{word} {text}: this is no number that it can be"))
}
