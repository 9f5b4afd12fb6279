//! The machine classes and templates of this project, and the resources that their machines need from Proxmox.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use crate::flow::inputs;
use crate::prelude::*;
use check::capacity::machine::{self, Machine};
use domain::spec::Parsed;
use domain::spec::machine_class::{self, MachineClass};
use domain::spec::template::{self, ClusterTemplate};

/// A machine class of this project, and the resources that its machines need from Proxmox.
pub struct Class {
    pub class: MachineClass,
    /// Its file is marked as an example from this repository.
    pub example: bool,
    pub machine: Parsed<Machine>,
}

impl Class {
    /// The provider that creates its machines.
    pub fn provider_id(&self) -> Option<&str> {
        self.class.auto_provision.as_ref().map(|provision| provision.provider_id.as_str())
    }
}

/// Reads every class in `machine-classes/` that can be parsed, complete or not; callers check the findings of those they use.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn read_classes(cx: &Cx) -> Result<Vec<Class>, Failure> {
    read_class_files(cx, inputs::list_yaml_files(&cx.paths.machine_classes()))
}

fn read_class_files(cx: &Cx, files: Vec<PathBuf>) -> Result<Vec<Class>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let bytes = inputs::read(cx, &file, "check the path")?;
        let parsed = machine_class::parse(&cx.paths.show(&file), &bytes);
        let classes = parsed.value.unwrap_or_default().into_iter();
        let example = inputs::is_example(&bytes);
        found.extend(classes.map(|class| Class { machine: machine::machine(&class), class, example }));
    }
    Ok(found)
}

/// Reads every template in `clusters/` that can be parsed, without the shipped examples that were never synced.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn templates_in_use(cx: &Cx) -> Result<Vec<ClusterTemplate>, Failure> {
    let files = inputs::list_yaml_files(&cx.paths.clusters());
    let (examples, own): (Vec<PathBuf>, Vec<PathBuf>) =
        files.into_iter().partition(|file| inputs::is_example_file(file));
    let synced = cx.settings.state.list("clusters");
    let mut found = read_templates(cx, &own)?;
    found.extend(read_templates(cx, &examples)?.into_iter().filter(|template| synced.contains(&template.name)));
    Ok(found)
}

pub fn read_templates(cx: &Cx, files: &[PathBuf]) -> Result<Vec<ClusterTemplate>, Failure> {
    let mut found = Vec::new();
    for file in files {
        let bytes = inputs::read(cx, file, inputs::WRITE_TEMPLATE)?;
        found.extend(template::parse(&cx.paths.show(file), &bytes).value);
    }
    Ok(found)
}

/// Returns the providers that create the machines of these templates, according to the class files.
///
/// # Errors
/// Returns an error if a file cannot be read.
pub fn providers_of(cx: &Cx, templates: &[ClusterTemplate]) -> Result<BTreeSet<String>, Failure> {
    let used = |name: &str| {
        let mut sets = templates.iter().flat_map(|template| &template.sets);
        sets.any(|set| set.class.as_ref().is_some_and(|class| class.name == name))
    };
    let known = if cx.paths.is_project() { read_classes(cx)? } else { Vec::new() };
    let used = known.iter().filter(|class| used(&class.class.id));
    Ok(used.filter_map(|class| class.provider_id().map(str::to_owned)).collect())
}

/// Returns the machines of the classes that the templates use, from the project and the `given` files; `None` for a class that
/// selects machines by their labels. Without a project, only the given files are read.
///
/// # Errors
/// Fails with [`Code::NotFound`] if no file defines a class, or with [`Code::Invalid`] if a class is incomplete or wrong.
pub fn needed_classes(
    cx: &Cx,
    templates: &[ClusterTemplate],
    given: &[PathBuf],
) -> Result<BTreeMap<String, Option<Machine>>, Failure> {
    let mut known = read_class_files(cx, given.to_vec())?;
    if cx.paths.is_project() {
        known.extend(read_classes(cx)?);
    }
    // If two classes have the same name, the first one counts, as everywhere.
    let by_name: BTreeMap<&str, &Class> = known.iter().rev().map(|class| (class.class.id.as_str(), class)).collect();
    let ids = cx.provider_ids();
    let mut needed = BTreeMap::new();
    for (template, set) in templates.iter().flat_map(|template| template.sets.iter().map(move |set| (template, set))) {
        let Some(wanted) = &set.class else { continue };
        if needed.contains_key(&wanted.name) {
            continue;
        }
        let Some(class) = by_name.get(wanted.name.as_str()) else {
            let names = by_name.keys().copied();
            let near = domain::nearest::nearest(&wanted.name, names);
            let place = wanted.name_at.in_file(&template.place.file);
            let failure = Failure::new(Code::NotFound, format!("{place}: there is no machine class `{}`", wanted.name))
                .cause("neither a file in machine-classes/ nor one given with --class describes it")
                .next(format!("cargo xtask machineclass-create {}", wanted.name));
            return Err(near.map_or(failure.clone(), |near| failure.hint(format!("did you mean `{near}`?"))));
        };
        let bad: Vec<_> = class.machine.findings.iter().filter(|finding| finding.is_error()).collect();
        if let Some(first) = bad.first() {
            return Err(Failure::new(Code::Invalid, format!("the machine class `{}` cannot be placed", wanted.name))
                .cause(format!("{}: {}", first.place, first.message))
                .hint(first.fix.clone())
                .with(json!({ "findings": bad })));
        }
        let ours = class.provider_id().is_some_and(|id| ids.iter().any(|own| own == id) || !cx.paths.is_project());
        needed.insert(wanted.name.clone(), class.machine.value.clone().filter(|_| ours));
    }
    Ok(needed)
}
