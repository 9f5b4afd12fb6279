//! Applies machine classes from files to Omni: the differences, the changes, and the verification.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::Serialize;

use crate::flow::change::{self, retry_overtaken};
use crate::flow::project_files::CheckedFile;
use crate::flow::saved_plan::PlanFile;
use crate::flow::{inputs, lookup, saved_plan, stage};
use crate::prelude::*;
use check::machine_class::Provider;
use domain::spec::machine_class::{self, MachineClass};
use domain::status::omni::Resource;
use runtime::files;
use runtime::tool::omnictl::Omnictl;
use runtime::tool::role;
use runtime::ui::Check;

const KIND: &str = "machineclasses";

/// The fields of a class that Omni stores, flattened to text: `cores: 4` inside the provider's data is a separate field.
type Fields = BTreeMap<String, String>;

/// Applies files of machine classes after the changes of the plan `before`. All changes are shown and confirmed together.
///
/// # Errors
/// Returns an error if a file is not valid, if the provider of a class never registered, if the login may not change classes, or
/// if a class in Omni still differs from its file afterwards.
pub fn apply_files(
    cx: &Cx,
    files: &[CheckedFile],
    before: Plan<'_>,
    allow: &[&'static str],
    saved: PlanFile<'_>,
) -> anyhow::Result<Outcome> {
    let checked = inputs::machine_classes(cx, files, None);
    checked.refuse_certain_errors(cx, allow)?;
    refuse_duplicates(cx, checked.found())?;
    cx.check_writable(&[cx.paths.state()])?;
    let omnictl = if saved.is_write_only() { Omnictl::find(cx)? } else { change::omnictl(cx)? };
    let (there, providers) = observe(cx, &omnictl, checked.found(), allow)?;
    let classes = inputs::machine_classes(cx, files, Some(&providers)).into_valid(cx, allow)?;
    let updates = updates(cx, &classes, &there);
    let mut changes = files.iter().filter_map(|file| apply(&omnictl, file, &updates));
    let first =
        changes.next().map(|first| first.with_precondition(|_| Ok(refuse_if_changed(&omnictl, &updates, &there)?)));
    let changes: Vec<Change<'_>> = first.into_iter().chain(changes).collect();
    let names: Vec<&str> = classes.iter().map(|(class, _)| class.id.as_str()).collect();
    let fields: Vec<Value> = updates.iter().map(Update::json).collect();
    let data = json!({ "machine_classes": names, "changes": fields, "allowed": allow });
    let question = question(&before, &changes);
    let mut plan = before;
    if changes.is_empty() {
        cx.ui.note("changes", "nothing to apply", Status::Skipped, "Omni already has all of it");
    } else {
        if !cx.dry_run {
            role::check_may_change(&omnictl, &[])?;
        }
        plan.verify(|cx| verify(cx, &omnictl, &classes));
    }
    plan.append(changes.into_iter().collect());
    plan.record(|state| names.iter().for_each(|name| state.add_to_list("machine_classes", name)));
    let mut grounds = saved_plan::plan_binding(cx, omnictl.endpoint(), allow, files.iter());
    updates.iter().for_each(|to| saved_plan::bind_resource(&mut grounds, "machine class", to.class, &there));
    if let Some(written) = saved.write_or_compare(cx, &plan, grounds)? {
        return Ok(written.and(data));
    }
    if let Some(planned) = plan.run(cx, &question)? {
        return Ok(planned.and(data));
    }
    let summary = match names.as_slice() {
        [one] => format!("machine class `{one}` in Omni matches its file"),
        many => format!("{} machine classes in Omni match their files", many.len()),
    };
    Ok(Outcome::done(summary).with(data).next("cargo xtask cluster-create"))
}

fn question(before: &Plan<'_>, applies: &[Change<'_>]) -> String {
    let written: Vec<&str> = before.changes().map(|change| change.shown.object.as_str()).collect();
    let apply = match applies {
        [one] => format!("apply {} to Omni", one.shown.object),
        many => format!("apply {} files of machine classes to Omni", many.len()),
    };
    match (written.as_slice(), applies.is_empty()) {
        ([], _) => apply.replacen("apply", "Apply", 1),
        (files, true) => format!("Write {}", files.join(", ")),
        (files, false) => format!("Write {} and {apply}", files.join(", ")),
    }
}

/// Refuses two files that define the same class: each would overwrite the other's version.
fn refuse_duplicates(cx: &Cx, classes: &[(MachineClass, PathBuf)]) -> Result<(), Failure> {
    for (at, (class, file)) in classes.iter().enumerate() {
        if let Some((_, other)) = classes[..at].iter().find(|(other, _)| other.id == class.id) {
            let (one, two) = (cx.paths.show(other), cx.paths.show(file));
            return Err(Failure::new(Code::Conflict, format!("the machine class `{}` is defined twice", class.id))
                .cause(if one == two { format!("in {one}") } else { format!("in {one} and in {two}") })
                .hint("keep one of them"));
        }
    }
    Ok(())
}

/// Reads the classes and the registered providers from Omni, with two requests for any number of classes.
fn observe(
    cx: &Cx,
    omnictl: &Omnictl<'_>,
    classes: &[(MachineClass, PathBuf)],
    allow: &[&'static str],
) -> anyhow::Result<(Vec<Resource>, Vec<Provider>)> {
    let checks = vec![
        lookup::list(omnictl, "classes", "Read the machine classes from Omni", KIND),
        Check::new("providers", "Check that the provider has registered", || {
            let found = omnictl.list("infraproviderstatuses", None)?;
            let known: Vec<&str> = found.iter().map(|found| found.metadata.id.as_str()).collect();
            for (class, file) in classes {
                let Some(wanted) = class.auto_provision.as_ref().map(|auto| auto.provider_id.as_str()) else {
                    continue;
                };
                if !known.contains(&wanted) && !allow.contains(&"class-provider-unknown") {
                    return Err(unregistered_provider(cx, class, file, wanted, &known).into());
                }
            }
            let detail = known.join(", ");
            Ok(StepResult::ok(found, detail))
        }),
    ];
    let mut results = cx.ui.run_checks("querying Omni", checks).into_iter();
    let mut next = || results.next().unwrap_or_else(|| Ok(Vec::new()));
    let (classes, providers) = (next()?, next()?);
    Ok((classes, lookup::parse_providers(&providers)))
}

fn unregistered_provider(cx: &Cx, class: &MachineClass, file: &Path, wanted: &str, known: &[&str]) -> Failure {
    let cause = match known {
        [] => "no provider has ever registered".to_owned(),
        known => format!("registered are: {}", known.join(", ")),
    };
    let what = format!("machine class `{}` uses the provider `{wanted}`, which Omni does not know", class.id);
    let failure = Failure::new(Code::Failed, what);
    match domain::nearest::nearest(wanted, known.iter().copied()) {
        Some(near) => failure.cause(cause).hint(format!("write `providerid: {near}` in {}", cx.paths.show(file))),
        None => failure
            .cause(cause)
            .hint("Omni checks a class against its provider's schema, so the provider must have run once"),
    }
    .next("cargo xtask provider-setup")
}

/// A class that differs from what Omni has.
struct Update<'a> {
    class: &'a str,
    file: &'a Path,
    /// Omni has no class with this name yet.
    new: bool,
    differences: Vec<Difference>,
}

impl Update<'_> {
    fn json(&self) -> Value {
        json!({ "machine_class": self.class, "fields": self.differences })
    }

    fn effect(&self) -> String {
        match self.new {
            true => "machines can be created from it".to_owned(),
            false => {
                let words: Vec<String> = self.differences.iter().map(Difference::words).collect();
                format!("{}; existing machines do not change", words.join(", "))
            }
        }
    }

    fn verb(&self) -> &'static str {
        if self.new { "create" } else { "update" }
    }
}

/// Returns the classes that differ from those in Omni, and prints every field that differs.
fn updates<'a>(cx: &Cx, classes: &'a [(MachineClass, PathBuf)], there: &[Resource]) -> Vec<Update<'a>> {
    let mut updates = Vec::new();
    for (class, file) in classes {
        let old = there.iter().find(|resource| resource.metadata.id == class.id).map(fields_of_resource);
        let (new, fields) = (old.is_none(), fields_of_class(class));
        if old.as_ref() == Some(&fields) {
            continue;
        }
        let differences = differences(&old.unwrap_or_default(), &fields);
        for difference in &differences {
            cx.ui.say(&format!("  {}: {}", class.id, difference.words()));
        }
        updates.push(Update { class: &class.id, file, new, differences });
    }
    updates
}

/// Applies a file of machine classes, using the bytes that were checked even if the file has changed since. omnictl applies every
/// class in the file, so they form one change.
fn apply<'a>(omnictl: &'a Omnictl<'_>, file: &'a CheckedFile, updates: &[Update<'_>]) -> Option<Change<'a>> {
    let updates: Vec<&Update<'_>> = updates.iter().filter(|update| update.file == file.path).collect();
    let (first, more) = updates.split_first()?;
    let names: Vec<&str> = updates.iter().map(|update| update.class).collect();
    let more = more.iter().map(|update| format!("; {} {}: {}", update.verb(), update.class, update.effect()));
    let undo = match first.new {
        true => format!("omnictl delete machineclass {}", first.class),
        false => "restore the file and apply it".to_owned(),
    };
    let object = format!("machine class {}", names.join(", "));
    Some(Change::new(first.verb(), object, first.effect() + &more.collect::<String>(), undo, |cx| {
        let (_stage, copy) = stage::copy_class(cx, file)?;
        retry_overtaken(|| omnictl.apply(&copy)).map_err(|failure| stage::unstage(cx, failure, &copy, &file.path))?;
        Ok("accepted by Omni".to_owned())
    }))
}

/// Refuses to apply if one of the classes has changed in Omni since the plan was shown. One request covers all of them.
fn refuse_if_changed(omnictl: &Omnictl<'_>, updates: &[Update<'_>], shown: &[Resource]) -> Result<(), Failure> {
    let now = omnictl.list(KIND, None)?;
    let of = |there: &[Resource], id: &str| {
        there.iter().find(|resource| resource.metadata.id == id).map(fields_of_resource).unwrap_or_default()
    };
    for id in updates.iter().map(|update| update.class) {
        let words: Vec<String> = differences(&of(shown, id), &of(&now, id)).iter().map(Difference::words).collect();
        if !words.is_empty() {
            let what = format!("the machine class `{id}` has changed in Omni since the plan was made");
            return Err(Failure::new(Code::Conflict, what)
                .cause(format!("{}; nothing was applied", words.join(", ")))
                .hint("someone else is changing this class: run the command again and check the new plan"));
        }
    }
    Ok(())
}

/// Reads every class back and compares it with its file, because omnictl drops keys that it does not know and exits 0.
fn verify(cx: &Cx, omnictl: &Omnictl<'_>, classes: &[(MachineClass, PathBuf)]) -> anyhow::Result<()> {
    cx.ui.step("proof", "Check that the machine classes in Omni match their files", || {
        let there = omnictl.list(KIND, None)?;
        for (class, file) in classes {
            let found = there.iter().find(|resource| resource.metadata.id == class.id).ok_or_else(|| {
                Failure::new(Code::Failed, format!("Omni accepted `{}` but does not list it", class.id))
                    .cause("Omni silently ignores a class outside the namespace `default`")
                    .hint(format!("write `namespace: default` under metadata in {}", cx.paths.show(file)))
            })?;
            let left = differences(&fields_of_resource(found), &fields_of_class(class));
            if !left.is_empty() {
                let words: Vec<String> = left.iter().map(Difference::words).collect();
                let message = format!("the machine class `{}` in Omni differs from the file", class.id);
                return Err(Failure::new(Code::Failed, message)
                    .cause(words.join("\n"))
                    .hint("omnictl silently drops keys that it does not know: check their spelling")
                    .into());
            }
        }
        Ok(StepResult::ok((), format!("{} compared", count(classes.len(), "class"))))
    })
}

/// A field that differs.
#[derive(Debug, Serialize)]
struct Difference {
    field: String,
    before: Option<String>,
    after: Option<String>,
}

impl Difference {
    fn words(&self) -> String {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => format!("{} from {before} to {after}", self.field),
            (None, Some(after)) => format!("{} {after}", self.field),
            (Some(before), None) => format!("{} no longer {before}", self.field),
            (None, None) => self.field.clone(),
        }
    }
}

fn differences(old: &Fields, new: &Fields) -> Vec<Difference> {
    let names: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    let differs = |name: &&&String| old.get(**name) != new.get(**name);
    let of = |name: &String| Difference {
        field: name.clone(),
        before: old.get(name).cloned(),
        after: new.get(name).cloned(),
    };
    names.iter().filter(differs).map(|name| of(name)).collect()
}

/// Describes the changes that applying this class would make to the one in Omni.
pub fn describe_differences(class: &MachineClass, resource: &Resource) -> Vec<String> {
    let (old, new) = (fields_of_resource(resource), fields_of_class(class));
    differences(&old, &new).iter().map(Difference::words).collect()
}

/// Returns true if the file contains this class as it is in Omni.
///
/// # Errors
/// Returns an error if the file cannot be read.
pub fn matches_file(cx: &Cx, file: &Path, resource: &Resource) -> Result<bool, Failure> {
    let Some(bytes) = files::read_optional(file)? else { return Ok(false) };
    let classes = machine_class::parse(&cx.paths.show(file), &bytes).value.unwrap_or_default();
    let found = classes.iter().find(|class| class.id == resource.metadata.id);
    Ok(found.is_some_and(|class| describe_differences(class, resource).is_empty()))
}

fn fields_of_class(class: &MachineClass) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in &class.labels {
        fields.insert(format!("label {key}"), value.clone());
    }
    if !class.match_labels.is_empty() {
        fields.insert("matchlabels".into(), class.match_labels.join(" | "));
    }
    if let Some(auto) = &class.auto_provision {
        fields.insert("providerid".into(), auto.provider_id.clone());
        fields.insert("grpctunnel".into(), auto.grpc_tunnel.to_string());
        if !auto.kernel_args.is_empty() {
            fields.insert("kernelargs".into(), auto.kernel_args.join(" "));
        }
        for (key, value) in &auto.meta_values {
            fields.insert(format!("metavalue {key}"), value.clone());
        }
        add_provider_data(&mut fields, &auto.provider_data);
    }
    fields
}

fn fields_of_resource(resource: &Resource) -> Fields {
    parse_resource(resource).map(|class| fields_of_class(&class)).unwrap_or_default()
}

/// Returns a class in Omni in the form that `omnictl apply` reads, without the fields that only Omni sets.
pub fn document(resource: &Resource) -> Value {
    let id = &resource.metadata.id;
    let mut metadata = json!({ "namespace": machine_class::NAMESPACE, "type": machine_class::TYPE, "id": id });
    let labels: serde_json::Map<String, Value> =
        resource.metadata.labels().iter().map(|(key, value)| (key.clone(), value.clone())).collect();
    if !labels.is_empty() {
        metadata["labels"] = labels.into();
    }
    let mut spec = resource.spec.clone();
    if let Some(fields) = spec.as_object_mut() {
        let empty = |value: &Value| value.is_null() || value.as_array().is_some_and(Vec::is_empty);
        fields.retain(|_, value| !empty(value));
    }
    json!({ "metadata": metadata, "spec": spec })
}

/// Parses a class in Omni like a class file: its JSON is valid YAML.
pub fn parse_resource(resource: &Resource) -> Option<MachineClass> {
    let file = format!("machine class {}", resource.metadata.id);
    machine_class::parse(&file, document(resource).to_string().as_bytes()).value?.pop()
}

/// Adds each key of the provider's data, which is a string of YAML, as a field.
fn add_provider_data(fields: &mut Fields, text: &str) {
    match serde_yaml::from_str::<serde_yaml::Value>(text) {
        Ok(serde_yaml::Value::Mapping(map)) => {
            for (key, value) in &map {
                let value = serde_json::to_value(value).unwrap_or_default();
                let shown = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
                fields.insert(key.as_str().unwrap_or("?").to_owned(), shown);
            }
        }
        _ => drop(fields.insert("providerdata".into(), text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorded::recorded;
    use domain::spec::machine_class;

    #[test]
    fn class_read_back_equals_class_applied() {
        let there =
            domain::status::omni::parse_resources(&recorded("omnictl", "get-machineclasses-json").stdout).unwrap();
        let file =
            std::fs::read(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/omnictl/input-machineclass.yaml"));
        let class = machine_class::parse("x", &file.unwrap()).value.unwrap().remove(0);
        assert_eq!(fields_of_resource(&there[0]), fields_of_class(&class));
        let mut other = class;
        other.auto_provision.as_mut().unwrap().provider_data = "cores: 8\n".to_owned();
        let words: Vec<String> = differences(&fields_of_resource(&there[0]), &fields_of_class(&other))
            .iter()
            .map(Difference::words)
            .collect();
        assert_eq!(words[0], "cores from 4 to 8");
        assert_eq!(words[1], "disk_size no longer 40");
    }
}
