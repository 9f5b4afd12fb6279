//! Reads the operator's files: which files a task is given, and what is wrong with them.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::fs::DirEntry;
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
use runtime::paths::{is_stream, path_to_paste};
use runtime::proc;
use yaml::{Finding, Location};

use crate::flow::lookup;
use crate::flow::project_files::CheckedFile;

/// Stands for standard input in place of a file.
const STDIN: &str = "-";
/// The most that is read of any file. The checks refuse files over 4 MiB; the rest is read so that they can report the size.
const MAX_READ_BYTES: u64 = 16 << 20;
/// Maximum number of symbolic links in one path, as in Linux itself.
const MAX_LINKS: u8 = 40;
/// Secrets are hidden in files up to this size. Larger templates are refused before omnictl gets them.
const MAX_REDACTED_BYTES: usize = yaml::MAX_BYTES;
/// Threads for many files: each may keep a file of [`MAX_READ_BYTES`] bytes in memory.
const THREADS: usize = 4;
/// Rules whose result may differ between the provider's schema in Omni and the built-in table. Their findings are not a reason
/// to refuse a file before Omni was queried.
const SCHEMA_RULES: &[&str] = &[
    "providerdata-schema",
    "providerdata-required",
    "providerdata-newer-type",
    "providerdata-unknown-key",
    "providerdata-misplaced-key",
];

/// The kind of file that a task takes by name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Input {
    Cluster,
    MachineClass,
}

impl Input {
    fn kind_name(self) -> &'static str {
        if self == Input::Cluster { "cluster" } else { "machine class" }
    }

    fn dir(self, cx: &Cx) -> PathBuf {
        if self == Input::Cluster { cx.paths.clusters() } else { cx.paths.machine_classes() }
    }

    /// The file for a name.
    fn file(self, cx: &Cx, name: &str) -> PathBuf {
        if self == Input::Cluster { cluster_file(cx, name) } else { cx.paths.machine_class(name) }
    }

    /// The task that creates such a file.
    fn create(self) -> &'static str {
        if self == Input::Cluster { "cargo xtask cluster-create" } else { "cargo xtask machineclass-create" }
    }
}

/// Returns the files that `given` names, or all files in the directory if `given` is empty. A name stands for
/// `<dir>/<name>.yaml`; anything with a dot or a slash is a path.
///
/// # Errors
/// Fails with [`Code::NotFound`] and lists the existing names, or with [`Code::Usage`] if a name is not valid.
pub fn resolve_files(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let (what, dir) = (input.kind_name(), input.dir(cx));
    if given.is_empty() {
        let files = list_yaml_files(&dir);
        if files.is_empty() {
            return Err(Failure::new(Code::NotFound, format!("`{}` contains no {what}", dir.display()))
                .cause("each `*.yaml` file in it must describe exactly one")
                .next(input.create()));
        }
        return Ok(files);
    }
    let of_given = |given: &String| {
        let is_path = is_path(given);
        let file = if is_path { PathBuf::from(given) } else { input.file(cx, given) };
        // Anything at the path that is not a file, and a dangling link, is reported when it is read.
        if is_path && file.symlink_metadata().is_ok() || file.is_file() {
            return std::path::absolute(&file).map_err(|error| Failure::new(Code::Failed, error.to_string()));
        }
        if !is_path {
            name::check(what, given)?;
        }
        let stem = Path::new(given).file_stem().and_then(OsStr::to_str).unwrap_or(given);
        let names: Vec<String> =
            list_yaml_files(&dir).iter().filter_map(|file| Some(file.file_stem()?.to_str()?.to_owned())).collect();
        let same = names.iter().map(String::as_str).find(|name| *name == stem);
        let near = same.or_else(|| domain::nearest::nearest(stem, names.iter().map(String::as_str)));
        // Omni may have a cluster that no file describes.
        let (lacks, writes) = match input {
            Input::Cluster => {
                let export =
                    format!("`cargo xtask cluster-export {given}` writes the template of a cluster that Omni has");
                ("cluster template", format!("{export}, `{} {given}` a new one", input.create()))
            }
            Input::MachineClass => (what, format!("`{} {given}` writes a new one", input.create())),
        };
        let failure = Failure::new(Code::NotFound, format!("there is no {lacks} `{given}`")).cause(match names.len() {
            0 => format!("`{}` does not exist, and `{}` contains none", file.display(), dir.display()),
            _ => format!("`{}` does not exist; there are: {}", file.display(), names.join(", ")),
        });
        Err(match near {
            Some(near) => failure.hint(format!("did you mean `{near}`?")),
            None if name::check(what, given).is_ok() => failure.hint(format!("check the name; {writes}")),
            None => failure.hint("check the name"),
        })
    };
    given.iter().map(of_given).collect()
}

/// As [`resolve_files`], for a task that only reads: `-` alone is standard input.
///
/// # Errors
/// As [`resolve_files`].
pub fn resolve_files_or_stdin(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    if given == [STDIN] { Ok(vec![PathBuf::from(STDIN)]) } else { resolve_files(cx, input, given) }
}

/// Returns the file in `clusters/` with the template of the cluster `name`, whatever its file name.
pub fn find_template(cx: &Cx, name: &str) -> Option<PathBuf> {
    let own = |file: &PathBuf| {
        let bytes = files::read_up_to(file, MAX_READ_BYTES).ok();
        let parsed = bytes.and_then(|bytes| template::parse("", &bytes).value);
        parsed.is_some_and(|template| template.name == name)
    };
    std::iter::once(cx.paths.cluster(name)).chain(list_yaml_files(&cx.paths.clusters())).find(own)
}

/// Returns the file for a cluster name: the one with its template, otherwise the one with that file name.
pub fn cluster_file(cx: &Cx, name: &str) -> PathBuf {
    find_template(cx, name).unwrap_or_else(|| cx.paths.cluster(name))
}

/// Refuses a template of another cluster than `name` in a file that is named after `name`.
///
/// # Errors
/// Fails with [`Code::Conflict`] and the commands that give each cluster its own file.
pub fn check_cluster_name(cx: &Cx, name: &str, template: &Template) -> Result<(), Failure> {
    let (file, other) = (&template.file.path, template.name());
    if other == name {
        return Ok(());
    }
    let what = format!("`{}` is the template of cluster `{other}`, not of `{name}`", cx.paths.show(file));
    let rename = format!("git mv {} {}", path_to_paste(file), path_to_paste(&cx.paths.cluster(other)));
    Err(Failure::new(Code::Conflict, what)
        .hint("give each cluster a file with its name")
        .next(rename)
        .next(format!("cargo xtask cluster-export {name}")))
}

/// Returns a finding for each name that is defined in two places: each sync or apply of one would undo that of the other.
pub fn find_duplicates(what: &str, rule: &'static str, names: &[(String, Location)]) -> Vec<Finding> {
    let mut first: BTreeMap<&str, &Location> = BTreeMap::new();
    let mut found = Vec::new();
    for (name, place) in names {
        let Some(other) = first.insert(name, place) else { continue };
        let message = format!("the {what} `{name}` is defined in {} too: they overwrite each other", other.file);
        found.push(Finding::error(rule, place.clone(), message, "keep one of them, or rename this one"));
    }
    found
}

/// Returns arguments for another task on the same objects: the given names and files, quoted for the shell, or `--all`.
pub fn shell_arguments(given: &[String]) -> String {
    let word = |given: &String| if is_stream(Path::new(given)) { "FILE".to_owned() } else { quote(given) };
    let words: Vec<String> = given.iter().map(word).collect();
    if words.is_empty() { "--all".to_owned() } else { words.join(" ") }
}

/// Returns true if the argument is a file path and not the name of a class or cluster: it has a dot or a slash.
pub fn is_path(given: &str) -> bool {
    given.contains(['/', '.'])
}

/// Returns true if the argument needs no project: it is a file path or standard input.
pub fn is_given_file(given: &str) -> bool {
    given == STDIN || is_path(given)
}

/// Returns the YAML files of a directory, sorted by name.
pub fn list_yaml_files(dir: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
    // A dangling link is kept: it is meant to be a file, and reading it reports the problem. Editors leave hidden ones behind.
    let hidden = |path: &PathBuf| path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    let meant = |path: &PathBuf| path.is_file() || !path.is_dir() && !hidden(path);
    let yaml = |path: &PathBuf| path.extension().is_some_and(|end| end == "yaml" || end == "yml");
    let is_file = |entry: &DirEntry| entry.file_type().is_ok_and(|kind| kind.is_file());
    let listed = entries.flatten().map(|entry| (is_file(&entry), entry.path()));
    let mut files: Vec<PathBuf> =
        listed.filter(|(file, path)| yaml(path) && (*file || meant(path))).map(|(_, path)| path).collect();
    files.sort();
    files
}

/// Starts the comment that marks a file as an example of this repository, before the first line that is not a comment.
const EXAMPLE: &str = "omni-scale: example";

/// The number of bytes at the start of a file in which the mark is searched for.
const EXAMPLE_WITHIN: usize = 4096;

/// Returns true if a file is marked as a shipped example. Tasks that act on all files skip it unless it is named, or until the
/// operator removes the line to make the file their own.
pub fn is_example(bytes: &[u8]) -> bool {
    let start = String::from_utf8_lossy(&bytes[..bytes.len().min(EXAMPLE_WITHIN)]);
    let comments = start.lines().map(str::trim).take_while(|line| line.is_empty() || line.starts_with('#'));
    comments.into_iter().any(|line| line.trim_start_matches('#').trim_start().starts_with(EXAMPLE))
}

/// As [`is_example`], for a file. Returns false if it cannot be read; whoever reads it next reports that.
pub fn is_example_file(file: &Path) -> bool {
    files::read_up_to(file, EXAMPLE_WITHIN as u64).is_ok_and(|bytes| is_example(&bytes))
}

/// As [`resolve_files_or_stdin`], without the shipped examples unless they are named. A step lists the skipped ones.
///
/// # Errors
/// As [`resolve_files_or_stdin`]; [`Code::NotFound`] if there are only examples.
pub fn operator_files(cx: &Cx, input: Input, given: &[String]) -> Result<Vec<PathBuf>, Failure> {
    let files = resolve_files_or_stdin(cx, input, given)?;
    if !given.is_empty() {
        return Ok(files);
    }
    let mut marked = map_in_parallel(&files, |file| is_example_file(file)).into_iter();
    let (examples, own): (Vec<PathBuf>, Vec<PathBuf>) = files.into_iter().partition(|_| marked.next() == Some(true));
    let names: Vec<String> =
        examples.iter().filter_map(|file| Some(file.file_stem()?.to_string_lossy().into_owned())).collect();
    if let (Some(first), true) = (names.first(), own.is_empty()) {
        let what = format!("you have no {} yet, only the shipped examples", input.kind_name());
        let hint = format!(
            "`cargo xtask {} {first}` accepts an example by name; remove its line `# {EXAMPLE}` to make it yours",
            cx.task
        );
        let failure = Failure::new(Code::NotFound, what).cause(format!("the examples are: {}", names.join(", ")));
        return Err(failure.hint(hint).next(input.create()));
    }
    if !names.is_empty() {
        let detail = format!("{}; specify an example by name to use it", names.join(", "));
        cx.ui.note("examples", "shipped examples are omitted", Status::Skipped, detail);
    }
    Ok(own)
}

/// Reads up to `MAX_READ_BYTES` bytes of one of the operator's files.
///
/// # Errors
/// Fails with [`Code::NotFound`] and `hint`, in which `NAME` stands for the file's name without `.yaml`, or with
/// [`Code::Failed`] if it cannot be read.
pub fn read(cx: &Cx, path: &Path, hint: &str) -> Result<Vec<u8>, Failure> {
    let bytes = if path == Path::new(STDIN) { stdin()? } else { files::read_up_to(path, MAX_READ_BYTES) };
    bytes.map_err(|error| match error.kind() {
        ErrorKind::NotFound => {
            let name = path.file_stem().and_then(OsStr::to_str).filter(|name| name::check("name", name).is_ok());
            let hint = name.map_or(hint.to_owned(), |name| hint.replace("NAME", name));
            Failure::new(Code::NotFound, format!("`{}` does not exist", cx.paths.show(path))).hint(hint)
        }
        kind => {
            let shown = cx.paths.show(path);
            let hint = match kind {
                ErrorKind::IsADirectory => format!("specify the files in it: `cargo xtask {} {shown}/*.yaml`", cx.task),
                _ => files::io_hint(path, &error),
            };
            Failure::new(Code::Failed, format!("cannot read `{shown}`")).cause(error.to_string()).hint(hint)
        }
    })
}

/// Reads a text file named on the command line, as [`files::read_optional_text`] does; `-` is standard input.
///
/// # Errors
/// As [`files::read_optional_text`]; [`Code::Interrupted`].
pub fn read_optional_text(file: &Path) -> Result<Option<String>, Failure> {
    if file != Path::new(STDIN) {
        return files::read_optional_text(file);
    }
    let bytes = stdin()?.map_err(|error| files::io_failure("read", file, &error))?;
    files::utf8(file, bytes).map(Some)
}

/// Reads standard input once, and returns the same bytes from then on.
fn stdin() -> Result<std::io::Result<Vec<u8>>, Failure> {
    static READ: OnceLock<Vec<u8>> = OnceLock::new();
    if let Some(bytes) = READ.get() {
        return Ok(Ok(bytes.clone()));
    }
    let read = proc::read_stdin(MAX_READ_BYTES)?;
    Ok(read.map(|bytes| READ.get_or_init(|| bytes).clone()))
}

/// Reads a file that the template at `template` refers to. Like omnictl 1.8 and later, it resolves the path from the template's
/// directory, and neither the path nor a link in it may lead outside of that directory (siderolabs/omni v1.9.3
/// `client/pkg/template/internal/models/models.go`, os.Root).
pub fn read_referenced_file(template: &Path, name: &str) -> FileRead {
    let missing = |why: String| FileRead::Missing { why, above: None };
    let dir = template.parent().unwrap_or(Path::new("."));
    let dir = match std::path::absolute(dir) {
        Ok(dir) => clean(&dir),
        Err(error) => return missing(error.to_string()),
    };
    let full = clean(&dir.join(name));
    let Ok(inner) = full.strip_prefix(&dir) else { return FileRead::Outside };
    match resolve_within(&dir, inner, 0).map(|file| file.map(|file| files::read_up_to(&file, MAX_READ_BYTES))) {
        Ok(Some(Ok(bytes))) => FileRead::Bytes(bytes),
        Ok(None) => FileRead::Outside,
        Err(error) | Ok(Some(Err(error))) if error.kind() == ErrorKind::NotFound => {
            FileRead::Missing { why: "there is no such file".to_owned(), above: find_above(&dir, inner) }
        }
        Err(error) | Ok(Some(Err(error))) => missing(error.to_string()),
    }
}

/// Resolves `inner` from `root`, following links; `None` if a link leads outside. As in Go's os.Root, any absolute link does.
fn resolve_within(root: &Path, inner: &Path, links: u8) -> std::io::Result<Option<PathBuf>> {
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
            if links == MAX_LINKS {
                return Err(std::io::Error::other("too many levels of symbolic links"));
            }
            at.pop();
            let target = at.join(std::fs::read_link(&path)?).join(parts.as_path());
            return resolve_within(root, &target, links + 1);
        }
    }
    Ok(Some(root.join(at)))
}

/// Looks for the file in the folders above the template's, up to the repository's root. Returns its path, starting with `../`.
fn find_above(dir: &Path, inner: &Path) -> Option<String> {
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

/// Runs `work` on each of `items` and keeps their order; many items are spread over threads.
pub fn map_in_parallel<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    const FEW: usize = 32;
    let threads = std::thread::available_parallelism().map_or(1, |count| count.get().min(THREADS));
    let parts = items.chunks(items.len().div_ceil(threads).max(FEW));
    let done = parallel::map_all(parts, threads, |part| part.iter().map(&work).collect::<Vec<R>>());
    done.into_iter().flatten().collect()
}

/// Checks each of `files` and returns the results with their files; many files are checked on several threads.
///
/// # Errors
/// As [`read`].
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
    map_in_parallel(files, one).into_iter().collect()
}

/// Machine classes with their files, checked as `machineclass-check` does.
#[derive(Debug)]
pub struct Classes {
    found: Vec<(MachineClass, PathBuf)>,
    findings: Vec<Finding>,
}

/// Reads files of machine classes. They are read only once, so that the bytes that are checked are the bytes that are applied.
///
/// # Errors
/// As [`read`].
pub fn class_files(cx: &Cx, files: &[PathBuf]) -> Result<Vec<CheckedFile>, Failure> {
    let hint = "write it with `cargo xtask machineclass-create`";
    let one = |path: &PathBuf| Ok(CheckedFile { path: path.clone(), bytes: read(cx, path, hint)? });
    files.iter().map(one).collect()
}

/// Checks machine classes; `providers` are those in Omni, if it was queried. Findings are collected, not returned as errors.
pub fn machine_classes(cx: &Cx, files: &[CheckedFile], providers: Option<&[Provider]>) -> Classes {
    let around = lookup::project_releases(cx);
    let context = around.class_context(providers);
    let one = |file: &CheckedFile| check::machine_class::check(&cx.paths.show(&file.path), &file.bytes, &context);
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (checked, file) in map_in_parallel(files, one).into_iter().zip(files) {
        findings.extend(checked.findings);
        found.extend(checked.value.unwrap_or_default().into_iter().map(|class| (class, file.path.clone())));
    }
    Classes { found, findings }
}

impl Classes {
    /// The classes that could be parsed, valid or not.
    pub fn found(&self) -> &[(MachineClass, PathBuf)] {
        &self.found
    }

    /// Refuses files with errors that no provider schema could resolve, before Omni is queried for the schema.
    ///
    /// # Errors
    /// As [`Classes::into_valid`].
    pub fn refuse_certain_errors(&self, cx: &Cx, allow: &[&'static str]) -> Result<(), Failure> {
        let certain = |finding: &Finding| finding.is_error() && !SCHEMA_RULES.contains(&finding.rule);
        match self.findings.iter().any(|finding| certain(finding) && !allow.contains(&finding.rule)) {
            true => refuse(cx, "machine class", &self.findings, allow),
            false => Ok(()),
        }
    }

    /// Shows every finding, and returns the classes if the only errors are allowed ones.
    ///
    /// # Errors
    /// Fails with [`Code::Invalid`] and every finding.
    pub fn into_valid(self, cx: &Cx, allow: &[&'static str]) -> Result<Vec<(MachineClass, PathBuf)>, Failure> {
        refuse(cx, "machine class", &self.findings, allow)?;
        match self.found.is_empty() {
            true => Err(nothing_readable("machine class", &self.findings)),
            false => Ok(self.found),
        }
    }
}

/// A cluster template after its check.
#[derive(Debug, Clone)]
pub struct Template {
    pub template: ClusterTemplate,
    pub file: CheckedFile,
    /// The files that it refers to, with the bytes that were checked, by their name in the template.
    pub beside: Vec<(String, Vec<u8>)>,
}

impl Template {
    /// Checks the template in `bytes`, the present or future content of `path`, and keeps the files read for the check.
    pub fn check(cx: &Cx, path: &Path, bytes: &[u8], known: &TemplateFacts<'_>) -> FileCheck<Template> {
        let seen: RefCell<BTreeMap<String, Vec<u8>>> = RefCell::default();
        let read = |name: &str| {
            if let Some(bytes) = seen.borrow().get(name) {
                return FileRead::Bytes(bytes.clone());
            }
            let found = read_referenced_file(path, name);
            if let FileRead::Bytes(bytes) = &found {
                seen.borrow_mut().insert(name.to_owned(), bytes.clone());
            }
            found
        };
        let checked = check_template_with(cx, path, bytes, known, &read);
        // Files that no check looked at are read too, because omnictl reads them.
        checked.value.iter().flat_map(ClusterTemplate::files).for_each(|(name, _)| drop(read(name)));
        let source = CheckedFile { path: path.to_owned(), bytes: bytes.to_vec() };
        let beside = seen.take().into_iter().collect();
        checked.map(|template| Some(Template { template, file: source, beside }))
    }

    pub fn name(&self) -> &str {
        &self.template.name
    }
}

/// Reads the templates in `files` and checks them as `cluster-check` does.
///
/// # Errors
/// Fails with [`Code::Invalid`] and every finding if an error is not allowed.
pub fn read_templates(
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
        return Err(nothing_readable("cluster template", &findings));
    }
    Ok(found)
}

/// Refuses templates that are invalid whatever is in Omni, before Omni is queried. Shows no findings if none of them is refused,
/// and returns the templates.
///
/// # Errors
/// As [`read_templates`].
pub fn refuse_invalid_templates(cx: &Cx, files: &[PathBuf], allow: &[&'static str]) -> Result<Vec<Template>, Failure> {
    let (found, findings) = checked_templates(cx, files, &TemplateFacts::default())?;
    let wrong = |finding: &Finding| finding.is_error() && !allow.contains(&finding.rule);
    if findings.iter().any(wrong) {
        refuse(cx, "cluster template", &findings, allow)?;
    }
    match found.len() < files.len() {
        true => Err(nothing_readable("cluster template", &findings)),
        false => Ok(found),
    }
}

/// The hint for a template that does not exist, for [`read`]; Omni may have its cluster nevertheless.
pub const WRITE_TEMPLATE: &str = "write it with `cargo xtask cluster-create NAME`, or with `cargo xtask cluster-export NAME` if \
     Omni has the cluster";

/// Returns the name of a template's cluster, and its location in the file.
pub fn cluster_location(template: &ClusterTemplate) -> (String, Location) {
    (template.name.clone(), template.name_at.in_file(&template.place.file))
}

fn checked_templates(
    cx: &Cx,
    files: &[PathBuf],
    known: &TemplateFacts<'_>,
) -> Result<(Vec<Template>, Vec<Finding>), Failure> {
    let check = |_: &str, path: &Path, bytes: &[u8]| Template::check(cx, path, bytes, known);
    let (mut found, mut findings) = (Vec::new(), Vec::new());
    for (checked, _) in check_each(cx, files, WRITE_TEMPLATE, check)? {
        findings.extend(checked.findings);
        found.extend(checked.value);
    }
    let names: Vec<_> = found.iter().map(|found| cluster_location(&found.template)).collect();
    findings.extend(find_duplicates("cluster", "template-cluster-twice", &names));
    Ok((found, findings))
}

/// Facts that templates are checked against.
#[derive(Debug, Clone, Copy, Default)]
pub struct TemplateFacts<'a> {
    /// The release of Omni and omnictl; [`read_templates`] uses the pinned one if this is `None`.
    pub omni: Option<Omni>,
    pub talos_versions: Option<&'a [check::template::TalosInfo]>,
    pub omni_classes: Option<&'a [ClassInfo]>,
    pub local_classes: Option<&'a [ClassInfo]>,
    /// Whether Omni stores etcd backups; [`read_templates`] reads it from the compose file.
    pub backup_store: Option<bool>,
}

/// Checks one template and the files that it refers to.
pub fn check_template(cx: &Cx, path: &Path, bytes: &[u8], known: &TemplateFacts<'_>) -> FileCheck<ClusterTemplate> {
    check_template_with(cx, path, bytes, known, &|file| read_referenced_file(path, file))
}

fn check_template_with(
    cx: &Cx,
    path: &Path,
    bytes: &[u8],
    known: &TemplateFacts<'_>,
    read: &dyn Fn(&str) -> FileRead,
) -> FileCheck<ClusterTemplate> {
    // omnictl prints patches when it compares templates, and they may contain secrets, e.g. a registry's password.
    let hide = |bytes: &[u8]| {
        if bytes.len() <= MAX_REDACTED_BYTES {
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

/// Shows the findings, and reports errors that are ignored because their rule is allowed.
///
/// # Errors
/// Fails with [`Code::Invalid`] and every finding if an error is not allowed.
pub fn refuse(cx: &Cx, what: &str, findings: &[Finding], allow: &[&'static str]) -> Result<(), Failure> {
    for finding in findings {
        cx.ui.say(&finding.to_string());
    }
    note_allowed(cx, findings, allow);
    let wrong = |finding: &&Finding| finding.is_error() && !allow.contains(&finding.rule);
    let errors = findings.iter().filter(wrong).count();
    let Some(first) = findings.iter().find(wrong) else { return Ok(()) };
    let failure = Failure::new(Code::Invalid, format!("the {what} has {}", count(errors, "error")));
    Err(with_finding(failure, first, cx.ui.shows_messages()).with(json!({ "findings": findings, "allowed": allow })))
}

/// Adds the first finding to a failure: as its cause, unless the findings were already shown.
pub fn with_finding(failure: Failure, first: &Finding, shown: bool) -> Failure {
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

/// Adds a step for each allowed rule, so that later readers of the output see which errors were ignored.
pub fn note_allowed(cx: &Cx, findings: &[Finding], allow: &[&'static str]) {
    for (_, rule) in allow.iter().enumerate().filter(|(at, rule)| !allow[..*at].contains(rule)) {
        let passed: Vec<&Finding> =
            findings.iter().filter(|finding| finding.is_error() && finding.rule == *rule).collect();
        let detail = match passed.as_slice() {
            [] => "no violations".to_owned(),
            [one] => format!("ignored at {}", one.place),
            [first, more @ ..] => format!("ignored at {} and {}", first.place, count(more.len(), "more place")),
        };
        let status = if passed.is_empty() { Status::Skipped } else { Status::Warning };
        cx.ui.note("allowed", format!("errors of the rule `{rule}` are allowed"), status, detail);
    }
}

/// The failure for files without any readable `what`: no rule can allow that. They may contain only other resources.
fn nothing_readable(what: &str, findings: &[Finding]) -> Failure {
    let failure = Failure::new(Code::Invalid, format!("the files contain no {what} that can be read"));
    let failure = match findings.iter().find(|finding| finding.is_error()) {
        Some(first) => failure.cause(format!("{}: {}", first.place, first.message)).hint(first.fix.clone()),
        None if what == "machine class" => failure
            .cause(
                "they contain other resources: a machine class has `type: MachineClasses.omni.sidero.dev` in its metadata",
            )
            .hint("keep other resources elsewhere; `omnictl apply -f FILE` applies them")
            .next("cargo xtask machineclass-create"),
        None => failure,
    };
    failure.with(json!({ "findings": findings }))
}
