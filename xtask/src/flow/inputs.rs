//! Reading what the operator wrote: which files are meant, and what is wrong with them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

use crate::prelude::*;
use check::machine_class::Provider;
use check::releases::Omni;
use check::template::{ClassInfo, FileRead, TemplateContext, clean};
use check::{self, FileCheck};
use domain::secret;
use domain::spec::machine_class::MachineClass;
use domain::spec::name;
use domain::spec::template::{self, ClusterTemplate};
use domain::words::quote;
use runtime::files;
use runtime::parallel;
use runtime::paths::{is_stream, pasted};
use runtime::proc;
use yaml::{Finding, Location};

use crate::flow::lookup;
use crate::flow::project_files::CheckedFile;

/// What stands for standard input in place of a file.
const STDIN: &str = "-";
/// No more is read of any file. The checks refuse a file beyond 4 MiB; the rest is read for the size that they name.
const MOST: u64 = 16 << 20;
/// Links that one path may lead over, as for Linux itself.
const MOST_LINKS: u8 = 40;
/// Larger templates are refused before omnictl is asked about them.
const PRINTED: usize = yaml::MAX_BYTES;
/// Threads for many files: each may hold a file of [`MOST`] bytes.
const THREADS: usize = 4;
/// Rules that the schema of the provider in Omni may decide otherwise than the built-in table: they are no reason to refuse
/// before it was asked.
const OF_SCHEMA: &[&str] = &[
    "providerdata-schema",
    "providerdata-required",
    "providerdata-newer-type",
    "providerdata-unknown-key",
    "providerdata-misplaced-key",
];

/// What a file holds that tasks take by its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Cluster,
    MachineClass,
}

impl Input {
    fn what(self) -> &'static str {
        if self == Input::Cluster { "cluster" } else { "machine class" }
    }

    fn dir(self, cx: &Cx) -> PathBuf {
        if self == Input::Cluster { cx.paths.clusters() } else { cx.paths.machine_classes() }
    }

    /// The file that a name means.
    fn file(self, cx: &Cx, name: &str) -> PathBuf {
        if self == Input::Cluster { cluster_file(cx, name) } else { cx.paths.machine_class(name) }
    }

    /// The task that writes one.
    fn create(self) -> &'static str {
        if self == Input::Cluster { "cargo xtask cluster-create" } else { "cargo xtask machineclass-create" }
    }
}

/// The files that `given` names, or without any all in the directory: a name means `<dir>/<name>.yaml`, anything with a dot or a
/// slash is a path.
///
/// # Errors
/// [`Code::NotFound`] with the names that there are; [`Code::Usage`] for a name that can be none.
pub fn chosen(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let (what, dir) = (input.what(), input.dir(cx));
    if given.is_empty() {
        let files = in_dir(&dir);
        if files.is_empty() {
            return Err(Failure::new(Code::NotFound, format!("`{}` holds no {what}", dir.display()))
                .cause("its files are `*.yaml`, one of them each")
                .next(input.create()));
        }
        return Ok(files);
    }
    let of_given = |given: &String| {
        let is_path = is_path(given);
        let file = if is_path { PathBuf::from(given) } else { input.file(cx, given) };
        // What is there and is not a file, or is a link to nothing, is reported when it is read.
        if is_path && file.symlink_metadata().is_ok() || file.is_file() {
            return std::path::absolute(&file).map_err(|error| Failure::new(Code::Failed, error.to_string()));
        }
        if !is_path {
            name::check(what, given)?;
        }
        let stem = Path::new(given).file_stem().and_then(OsStr::to_str).unwrap_or(given);
        let names: Vec<String> =
            in_dir(&dir).iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        let same = names.iter().map(String::as_str).find(|name| *name == stem);
        let near = same.or_else(|| domain::nearest::nearest(stem, names.iter().map(String::as_str)));
        let failure = Failure::new(Code::NotFound, format!("there is no {what} `{given}`")).cause(match names.len() {
            0 => format!("`{}` does not exist, and `{}` holds none", file.display(), dir.display()),
            _ => format!("`{}` does not exist; there are: {}", file.display(), names.join(", ")),
        });
        Err(match near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None if name::check(what, given).is_ok() => {
                failure.hint(format!("check the name; `{} {given}` writes a new one", input.create()))
            }
            None => failure.hint("check the name"),
        })
    };
    given.iter().map(of_given).collect()
}

/// The same for a task that only reads: `-` alone is standard input.
///
/// # Errors
/// As [`chosen`].
pub fn chosen_or_stdin(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    if given == [STDIN] { Ok(vec![PathBuf::from(STDIN)]) } else { chosen(cx, input, given) }
}

/// The file in `clusters/` whose template is that of the cluster `name`, whatever the file is called.
pub fn template_of(cx: &Cx, name: &str) -> Option<PathBuf> {
    let own = |file: &PathBuf| {
        let bytes = files::read_up_to(file, MOST).ok();
        let parsed = bytes.and_then(|bytes| template::parse("", &bytes).value);
        parsed.is_some_and(|template| template.name == name)
    };
    std::iter::once(cx.paths.cluster(name)).chain(in_dir(&cx.paths.clusters())).find(own)
}

/// The file that the name of a cluster means: that of its template, else the one that is called so.
pub fn cluster_file(cx: &Cx, name: &str) -> PathBuf {
    template_of(cx, name).unwrap_or_else(|| cx.paths.cluster(name))
}

/// Refuses a template that is of another cluster than `name`, although its file is called so.
///
/// # Errors
/// [`Code::Conflict`] with the commands that give both clusters a file.
pub fn must_be_of(cx: &Cx, name: &str, template: &Template) -> Result<(), Failure> {
    let (file, other) = (&template.file.path, template.name());
    if other == name {
        return Ok(());
    }
    let what = format!("`{}` is the template of cluster `{other}`, not of `{name}`", cx.paths.show(file));
    let rename = format!("git mv {} {}", pasted(file), pasted(&cx.paths.cluster(other)));
    Err(Failure::new(Code::Conflict, what)
        .hint("give each cluster a file of its name")
        .next(rename)
        .next(format!("cargo xtask cluster-export {name}")))
}

/// The findings for what is defined in two places: each sync or apply of one undoes that of the other.
pub fn defined_twice(what: &str, rule: &'static str, names: &[(String, Location)]) -> Vec<Finding> {
    let mut first: BTreeMap<&str, &Location> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, place) in names {
        let Some(other) = first.insert(name, place) else { continue };
        let message = format!("the {what} `{name}` is defined in {} too: they undo each other", other.file);
        found.push(Finding::error(rule, place.clone(), message, "keep one of them, or give this one another name"));
    }
    found
}

/// The arguments for another task about the same: the names and files that were given, as they can be pasted, or `--all`.
pub fn same(given: &[String]) -> String {
    let word = |given: &String| if is_stream(Path::new(given)) { "FILE".to_owned() } else { quote(given) };
    let words: Vec<String> = given.iter().map(word).collect();
    if words.is_empty() { "--all".to_owned() } else { words.join(" ") }
}

/// Whether what was given is the path of a file, and not the name of a class or cluster: it has a dot or a slash.
pub fn is_path(given: &str) -> bool {
    given.contains(['/', '.'])
}

/// Whether what was given needs no project: the path of a file, or standard input.
pub fn is_given_file(given: &str) -> bool {
    given == STDIN || is_path(given)
}

/// The YAML files of a directory, in order of their names.
pub fn in_dir(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    // A link that leads nowhere is meant to be a file, and its reader says what it is; editors keep hidden ones of that kind.
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let meant = |path: &PathBuf| path.is_file() || !path.is_dir() && !hidden(path);
    let yaml = |path: &PathBuf| meant(path) && path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let mut files: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(yaml).collect();
    files.sort();
    files
}

/// How a comment begins that marks a file as an example which this repository ships: before the first line that is not a
/// comment.
const EXAMPLE: &str = "omni-scale: example";

/// Whether a file is marked as a shipped example. The tasks that act on all files leave it out until its name is given, or
/// the operator removes the line to make the file their own.
pub fn is_example(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]);
    let comments = start.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with('#'));
    comments.into_iter().any(|line| line.trim_start_matches('#').trim_start().starts_with(EXAMPLE))
}

/// The same of a file; one that cannot be read is for its reader to report.
pub fn example_in(file: &Path) -> bool {
    files::read_up_to(file, MOST).is_ok_and(|bytes| is_example(&bytes))
}

/// The same without the shipped examples, unless they are given; a step names what was left out.
///
/// # Errors
/// Those of [`chosen_or_stdin`]; [`Code::NotFound`] when there is nothing but examples.
pub fn own(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let files = chosen_or_stdin(cx, input, given)?;
    if !given.is_empty() {
        return Ok(files);
    }
    let (examples, own): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|file| example_in(file));
    let names: Vec<String> =
        examples.iter().filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned())).collect();
    if let (Some(first), true) = (names.first(), own.is_empty()) {
        let what = format!("there is no {} of yours yet, only the shipped examples", input.what());
        let hint = format!(
            "`cargo xtask {} {first}` takes an example by its name; remove its line `# {EXAMPLE}` to make it yours",
            cx.task
        );
        let failure = Failure::new(Code::NotFound, what).cause(format!("the examples are: {}", names.join(", ")));
        return Err(failure.hint(hint).next(input.create()));
    }
    if !names.is_empty() {
        let detail = format!("{}; give the name of one to use it", names.join(", "));
        cx.ui.note("examples", "shipped examples are left out", Status::Skipped, detail);
    }
    Ok(own)
}

/// The bytes of a file of the operator's, up to [`MOST`].
///
/// # Errors
/// [`Code::NotFound`] with `hint`; [`Code::Failed`] when it cannot be read.
pub fn read(cx: &Cx, path: &Path, hint: &str) -> Result<Vec<u8>, Failure> {
    let bytes = if path == Path::new(STDIN) { stdin()? } else { files::read_up_to(path, MOST) };
    bytes.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            Failure::new(Code::NotFound, format!("`{}` does not exist", cx.paths.show(path))).hint(hint)
        }
        kind => {
            let shown = cx.paths.show(path);
            let hint = match kind {
                ErrorKind::IsADirectory => format!("name the files in it: `cargo xtask {} {shown}/*.yaml`", cx.task),
                _ => files::io_hint(path, &error),
            };
            Failure::new(Code::Failed, format!("cannot read `{shown}`")).cause(error.to_string()).hint(hint)
        }
    })
}

/// A file of text that the call names, as of [`files::read_text_if_there`]; `-` is standard input.
///
/// # Errors
/// As there; [`Code::Interrupted`].
pub fn text_if_there(file: &Path) -> Result<Option<String>, Failure> {
    if file != Path::new(STDIN) {
        return files::read_text_if_there(file);
    }
    let bytes = stdin()?.map_err(|error| files::cannot("read", file, &error))?;
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Standard input, which can be read once only.
fn stdin() -> Result<std::io::Result<Vec<u8>>, Failure> {
    static READ: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = READ.get() {
        return Ok(Ok(bytes.clone()));
    }
    let read = proc::read_stdin(MOST)?;
    Ok(read.map(|bytes| READ.get_or_init(|| bytes).clone()))
}

/// A file that the template at `template` refers to. As omnictl 1.8 and later do, a path counts by where it leads from the
/// template's directory, and links on the way may not lead out of it (siderolabs/omni v1.9.3
/// `client/pkg/template/internal/models/models.go`, os.Root).
pub fn beside(template: &Path, name: &str) -> FileRead {
    let missing = |why: String| FileRead::Missing { why, above: None };
    let dir = template.parent().unwrap_or(Path::new("."));
    let dir = match std::path::absolute(dir) {
        Ok(dir) => clean(&dir),
        Err(error) => return missing(error.to_string()),
    };
    let full = clean(&dir.join(name));
    let Ok(inner) = full.strip_prefix(&dir) else { return FileRead::Outside };
    match within(&dir, inner, 0).map(|file| file.map(|file| files::read_up_to(&file, MOST))) {
        Ok(Some(Ok(bytes))) => FileRead::Bytes(bytes),
        Ok(None) => FileRead::Outside,
        Err(error) | Ok(Some(Err(error))) if error.kind() == ErrorKind::NotFound => {
            FileRead::Missing { why: "there is no such file".to_owned(), above: above(&dir, inner) }
        }
        Err(error) | Ok(Some(Err(error))) => missing(error.to_string()),
    }
}

/// The file that `inner` leads to from `root`, links followed; `None` where a link leads out. Go's os.Root takes an
/// absolute link for one that does.
fn within(root: &Path, inner: &Path, links: u8) -> std::io::Result<Option<PathBuf>> {
    let mut at = PathBuf::new();
    let mut parts = inner.components();
    while let Some(part) = parts.next() {
        match part {
            Component::ParentDir if !at.pop() => return Ok(None),
            Component::ParentDir | Component::CurDir => continue,
            Component::Normal(name) => at.push(name),
            Component::RootDir | Component::Prefix(_) => return Ok(None),
        }
        let path = root.join(&at);
        if path.symlink_metadata()?.is_symlink() {
            if links == MOST_LINKS {
                return Err(std::io::Error::other("too many levels of symbolic links"));
            }
            at.pop();
            let target = at.join(std::fs::read_link(&path)?).join(parts.as_path());
            return within(root, &target, links + 1);
        }
    }
    Ok(Some(root.join(at)))
}

/// Where the file would be if its path started in a folder above the template's, as `../` and the path: in this
/// repository, or in the folder above.
fn above(dir: &Path, inner: &Path) -> Option<String> {
    const FOLDERS: usize = 8;
    let mut dots = PathBuf::new();
    for folder in dir.ancestors().take(FOLDERS) {
        if !dots.as_os_str().is_empty() && folder.join(inner).is_file() {
            return Some(dots.join(inner).display().to_string());
        }
        if folder.join(".git").exists() {
            return None;
        }
        dots.push("..");
    }
    None
}

/// `work` on each of `items`, in their order; many are spread over threads.
pub fn spread<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    const FEW: usize = 32;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    let parts = items.chunks(items.len().div_ceil(threads).max(FEW));
    let done = parallel::map_all(parts, threads, |part| part.iter().map(&work).collect::<Vec<R>>());
    done.into_iter().flatten().collect()
}

/// Each of `files` checked, with the file; many on several threads.
///
/// # Errors
/// Those of [`read`].
pub fn check_each<T: Send>(
    cx: &Cx,
    files: &[PathBuf],
    hint: &str,
    check: impl Fn(&str, &Path, &[u8]) -> FileCheck<T> + Sync,
) -> Result<Vec<(FileCheck<T>, PathBuf)>, Failure> {
    let one = |path: &PathBuf| {
        let bytes = read(cx, path, hint)?;
        Ok((check(&cx.paths.show(path), path, &bytes), path.clone()))
    };
    spread(files, one).into_iter().collect()
}

/// Machine classes, each with its file, checked as `machineclass-check` does.
#[derive(Debug)]
pub struct Classes {
    found: Vec<(MachineClass, PathBuf)>,
    findings: Vec<Finding>,
}

/// Files of machine classes with their bytes: they are read once, so that what is checked is what is applied.
///
/// # Errors
/// Those of [`read`].
pub fn class_files(cx: &Cx, files: &[PathBuf]) -> Result<Vec<CheckedFile>, Failure> {
    let hint = "write it with `cargo xtask machineclass-create`";
    let one = |path: &PathBuf| Ok(CheckedFile { path: path.clone(), bytes: read(cx, path, hint)? });
    files.iter().map(one).collect()
}

/// Checks machine classes; `providers` are those that Omni lists, if it was asked. Findings are no errors yet.
pub fn machine_classes(cx: &Cx, files: &[CheckedFile], providers: Option<&[Provider]>) -> Classes {
    let around = lookup::project_releases(cx);
    let context = around.of_classes(providers);
    let one = |file: &CheckedFile| check::machine_class::check(&cx.paths.show(&file.path), &file.bytes, &context);
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (checked, file) in spread(files, one).into_iter().zip(files) {
        findings.extend(checked.findings);
        found.extend(checked.value.unwrap_or_default().into_iter().map(|class| (class, file.path.clone())));
    }
    Classes { found, findings }
}

impl Classes {
    /// The classes that could be made out, whatever is wrong with them.
    pub fn found(&self) -> &[(MachineClass, PathBuf)] {
        &self.found
    }

    /// Refuses what no provider's schema could make right, before Omni is asked for it.
    ///
    /// # Errors
    /// As [`Classes::sound`].
    pub fn sound_so_far(&self, cx: &Cx, allow: &[&'static str]) -> Result<(), Failure> {
        let certain = |finding: &Finding| finding.is_error() && !OF_SCHEMA.contains(&finding.rule);
        match self.findings.iter().any(|finding| certain(finding) && !allow.contains(&finding.rule)) {
            true => refuse(cx, "machine class", &self.findings, allow),
            false => Ok(()),
        }
    }

    /// The classes, when nothing is wrong with them but what is allowed. Shows every finding.
    ///
    /// # Errors
    /// [`Code::Invalid`] with every finding.
    pub fn sound(self, cx: &Cx, allow: &[&'static str]) -> Result<Vec<(MachineClass, PathBuf)>, Failure> {
        refuse(cx, "machine class", &self.findings, allow)?;
        match self.found.is_empty() {
            true => Err(nothing_in("machine class", &self.findings)),
            false => Ok(self.found),
        }
    }
}

/// A cluster template as it was checked.
#[derive(Debug, Clone)]
pub struct Template {
    pub template: ClusterTemplate,
    pub file: CheckedFile,
    /// The files that it names, as they were checked: by the name in the template.
    pub beside: Vec<(String, Vec<u8>)>,
}

impl Template {
    /// Checks the template in `bytes`, which are or will be in the file at `path`, and keeps what was read for that.
    pub fn check(cx: &Cx, path: &Path, bytes: &[u8], known: &TemplateFacts<'_>) -> FileCheck<Template> {
        let seen: RefCell<BTreeMap<String, Vec<u8>>> = RefCell::default();
        let read = |name: &str| {
            if let Some(bytes) = seen.borrow().get(name) {
                return FileRead::Bytes(bytes.clone());
            }
            let found = beside(path, name);
            if let FileRead::Bytes(bytes) = &found {
                seen.borrow_mut().insert(name.to_owned(), bytes.clone());
            }
            found
        };
        let checked = template_reading(cx, path, bytes, known, &read);
        // What no check looked at is read all the same: omnictl does.
        checked.value.iter().flat_map(ClusterTemplate::files).for_each(|(name, _)| drop(read(name)));
        let source = CheckedFile { path: path.to_owned(), bytes: bytes.to_vec() };
        let beside = seen.take().into_iter().collect();
        checked.map(|template| Some(Template { template, file: source, beside }))
    }

    pub fn name(&self) -> &str {
        &self.template.name
    }
}

/// The templates in `files`, checked as `cluster-check` does.
///
/// # Errors
/// [`Code::Invalid`] with every finding, when one of them is an error that is not allowed.
pub fn templates(
    cx: &Cx,
    files: &[PathBuf],
    known: &TemplateFacts<'_>,
    allow: &[&'static str],
) -> Result<Vec<Template>, Failure> {
    let project = lookup::project_releases(cx);
    let known = TemplateFacts { omni: known.omni.or(project.omni), backup_store: project.backup_store, ..*known };
    let (found, findings) = checked_templates(cx, files, &known)?;
    refuse(cx, "cluster template", &findings, allow)?;
    if found.len() < files.len() {
        return Err(nothing_in("cluster template", &findings));
    }
    Ok(found)
}

/// Refuses templates that are wrong whatever Omni has, before anything is asked of it. Shows nothing of those that are not, and
/// returns them as they were read.
///
/// # Errors
/// As [`templates`].
pub fn refuse_wrong_templates(cx: &Cx, files: &[PathBuf], allow: &[&'static str]) -> Result<Vec<Template>, Failure> {
    let (found, findings) = checked_templates(cx, files, &TemplateFacts::default())?;
    let wrong = |finding: &Finding| finding.is_error() && !allow.contains(&finding.rule);
    if findings.iter().any(wrong) {
        refuse(cx, "cluster template", &findings, allow)?;
    }
    match found.len() < files.len() {
        true => Err(nothing_in("cluster template", &findings)),
        false => Ok(found),
    }
}

/// The cluster of a template, and where it is named.
pub fn cluster_place(template: &ClusterTemplate) -> (String, Location) {
    (template.name.clone(), template.name_at.in_file(&template.place.file))
}

fn checked_templates(
    cx: &Cx,
    files: &[PathBuf],
    known: &TemplateFacts<'_>,
) -> Result<(Vec<Template>, Vec<Finding>), Failure> {
    let hint = "write it with `cargo xtask cluster-create`";
    let check = |_: &str, path: &Path, bytes: &[u8]| Template::check(cx, path, bytes, known);
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (checked, _) in check_each(cx, files, hint, check)? {
        findings.extend(checked.findings);
        found.extend(checked.value);
    }
    let names: Vec<_> = found.iter().map(|found| cluster_place(&found.template)).collect();
    findings.extend(defined_twice("cluster", "template-cluster-twice", &names));
    Ok((found, findings))
}

/// What is known around templates.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateFacts<'a> {
    /// The release of Omni and omnictl; [`templates`] takes the pinned one if none is given.
    pub omni: Option<Omni>,
    pub talos_versions: Option<&'a [check::template::TalosInfo]>,
    pub omni_classes: Option<&'a [ClassInfo]>,
    pub local_classes: Option<&'a [ClassInfo]>,
    /// Whether Omni stores backups of etcd; [`templates`] reads it from the compose file.
    pub backup_store: Option<bool>,
}

/// One template checked, with the files that it refers to.
pub fn template(cx: &Cx, path: &Path, bytes: &[u8], known: &TemplateFacts<'_>) -> FileCheck<ClusterTemplate> {
    template_reading(cx, path, bytes, known, &|file| beside(path, file))
}

fn template_reading(
    cx: &Cx,
    path: &Path,
    bytes: &[u8],
    known: &TemplateFacts<'_>,
    read: &dyn Fn(&str) -> FileRead,
) -> FileCheck<ClusterTemplate> {
    // omnictl prints patches when it compares them, a registry's password among them.
    let hide = |bytes: &[u8]| {
        if bytes.len() <= PRINTED {
            secret::hide_in(&String::from_utf8_lossy(bytes));
        }
    };
    hide(bytes);
    let read = |file: &str| {
        let read = read(file);
        if let FileRead::Bytes(bytes) = &read {
            hide(bytes);
        }
        read
    };
    let TemplateFacts { omni, talos_versions, omni_classes, local_classes, backup_store } = *known;
    let read: Option<&dyn Fn(&str) -> FileRead> = Some(&read);
    let in_clusters = path.parent() == Some(&cx.paths.clusters());
    let file_name = path.file_stem().and_then(OsStr::to_str).filter(|_| in_clusters);
    let context = TemplateContext { omni, read, talos_versions, omni_classes, local_classes, backup_store, file_name };
    check::template::check(&cx.paths.show(path), bytes, &context)
}

/// Shows the findings, and notes which errors pass because their rule is allowed.
///
/// # Errors
/// [`Code::Invalid`] with every finding, when an error is not allowed.
pub fn refuse(cx: &Cx, what: &str, findings: &[Finding], allow: &[&'static str]) -> Result<(), Failure> {
    for finding in findings {
        cx.ui.say(&finding.to_string());
    }
    note_allowed(cx, findings, allow);
    let wrong = |finding: &&Finding| finding.is_error() && !allow.contains(&finding.rule);
    let errors = findings.iter().filter(wrong).count();
    let Some(first) = findings.iter().find(wrong) else { return Ok(()) };
    let failure = Failure::new(Code::Invalid, format!("the {what} has {}", count(errors, "error")));
    Err(explained(failure, first, cx.ui.talks()).with(json!({ "findings": findings, "allowed": allow })))
}

/// A failure for findings: they are repeated only where they were not shown.
pub fn explained(failure: Failure, first: &Finding, shown: bool) -> Failure {
    match shown {
        true => {
            failure.hint(format!("fix what is listed above, or ignore errors of a rule with `--allow {}`", first.rule))
        }
        false => {
            let cause = format!("{}: {}[{}]: {}", first.place, first.severity.as_str(), first.rule, first.message);
            failure.cause(cause).hint(first.fix.clone())
        }
    }
}

/// A step for each rule whose errors were passed by: whoever reads the output later must see it.
pub fn note_allowed(cx: &Cx, findings: &[Finding], allow: &[&'static str]) {
    for (_, rule) in allow.iter().enumerate().filter(|(at, rule)| !allow[..*at].contains(rule)) {
        let passed: Vec<&Finding> =
            findings.iter().filter(|finding| finding.is_error() && finding.rule == *rule).collect();
        let detail = match passed.as_slice() {
            [] => "nothing breaks it".to_owned(),
            [one] => format!("passed by at {}", one.place),
            [first, more @ ..] => format!("passed by at {} and {}", first.place, count(more.len(), "more place")),
        };
        let status = if passed.is_empty() { Status::Skipped } else { Status::Warning };
        cx.ui.note("allowed", format!("errors of the rule `{rule}` are allowed"), status, detail);
    }
}

/// What cannot be read at all is beyond what a rule can allow; and files may hold other resources only.
fn nothing_in(what: &str, findings: &[Finding]) -> Failure {
    let failure = Failure::new(Code::Invalid, format!("the files hold no {what} that can be read"));
    let failure = match findings.iter().find(|finding| finding.is_error()) {
        Some(first) => failure.cause(format!("{}: {}", first.place, first.message)).hint(first.fix.clone()),
        None if what == "machine class" => failure
            .cause(
                "they hold other resources: a machine class has `type: MachineClasses.omni.sidero.dev` in its metadata",
            )
            .hint("keep other resources elsewhere; `omnictl apply -f FILE` applies them")
            .next("cargo xtask machineclass-create"),
        None => failure,
    };
    failure.with(json!({ "findings": findings }))
}
